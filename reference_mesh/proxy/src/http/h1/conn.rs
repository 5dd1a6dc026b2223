//! One HTTP/1 connection: its socket, what was read of it, what is to be written to it.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead as _, AsyncReadExt as _, AsyncWrite as _, ReadBuf};

use super::decode::{Decoded, Decoder};
use crate::http::body::{BodyError, Frame};
use crate::transport::Io;

/// Bytes that are copied together before they are written; larger pieces are written in place.
const COALESCE_BYTES: usize = 16 * 1024;

/// One read.
const READ_BYTES: usize = 16 * 1024;

/// Answer to `Expect: 100-continue`, sent when the body is first wanted.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

thread_local! {
    /// Where reads land while a connection waits, so that waiting costs it no buffer.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into_boxed_slice());
}

/// A connection that its body and its driver share on the data thread.
pub(super) type Shared = Rc<RefCell<Conn>>;

/// See the module.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) io: Io,
    /// Read and not consumed.
    pub(super) read: BytesMut,
    /// Whether the last read of a body brought as much as it could.
    bulk: bool,
    /// Where the body that is being received ends.
    pub(super) decoder: Decoder,
    /// Whether the client waits for a 100 before it sends the body.
    pub(super) owes_continue: bool,
    /// Whether the whole message was written (client role).
    pub(super) sent: bool,
    /// Why the message could not be written whole (client role).
    pub(super) send_error: Option<BodyError>,
    /// Wakes the task that waits for the response: in the client role when `send_error` is set, in
    /// the server role when the body has been read, as from then on that task reads the socket.
    pub(super) reader: Option<Waker>,
    pub(super) out: Out,
}

/// Bytes to be written: small ones copied together, then at most one large piece and its end.
#[derive(Debug, Default)]
pub(super) struct Out {
    small: BytesMut,
    large: Bytes,
    tail: &'static [u8],
}

// === impl Conn ===

impl Conn {
    pub(super) fn new(io: Io) -> Self {
        Self {
            io,
            read: BytesMut::new(),
            bulk: false,
            decoder: Decoder::Done,
            owes_continue: false,
            sent: true,
            send_error: None,
            reader: None,
            out: Out::default(),
        }
    }

    /// Reads what has come, without holding a buffer while nothing has. 0 is the end.
    pub(super) fn poll_read_idle(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut scratch = ReadBuf::new(scratch);
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut scratch))?;
            self.read.extend_from_slice(scratch.filled());
            Poll::Ready(Ok(scratch.filled().len()))
        })
    }

    /// Reads what has come of the body. Small pieces are copied, so that each costs what it holds, and
    /// waiting for them nothing; as long as more comes than one read takes, it lands where it stays.
    fn poll_read_body(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let read = if self.bulk {
            self.read.reserve(READ_BYTES);
            pin!(self.io.read_buf(&mut self.read)).poll(cx)
        } else {
            self.poll_read_idle(cx)
        };
        self.bulk = matches!(read, Poll::Ready(Ok(len)) if len >= READ_BYTES);
        if read.is_pending() && self.read.is_empty() {
            self.read = BytesMut::new();
        }
        read
    }

    /// The next piece of the body that is being received.
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, BodyError>>> {
        loop {
            match self.decoder.decode(&mut self.read) {
                Ok(Decoded::Frame(frame)) => return Poll::Ready(Some(Ok(frame))),
                Ok(Decoded::End) => return Poll::Ready(None),
                Ok(Decoded::NeedMore) => {}
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
            if self.owes_continue {
                self.owes_continue = false;
                self.out.push(CONTINUE);
                if let Poll::Ready(Err(error)) = self.poll_flush(cx) {
                    return Poll::Ready(Some(Err(error.into())));
                }
            }
            match ready!(self.poll_read_body(cx)) {
                Ok(0) => match self.decoder.at_eof() {
                    Ok(()) => return Poll::Ready(None),
                    Err(error) => return Poll::Ready(Some(Err(error))),
                },
                Ok(_) => {}
                Err(error) => return Poll::Ready(Some(Err(error.into()))),
            }
        }
    }

    /// Writes all that waits.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.out.is_empty() {
            let slices = self.out.slices();
            let written = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, &slices))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.out.advance(written);
        }
        Pin::new(&mut self.io).poll_flush(cx)
    }

    /// Gives buffers back that hold nothing.
    pub(super) fn release(&mut self) {
        if self.read.is_empty() {
            self.read = BytesMut::new();
        }
        if self.out.is_empty() {
            self.out = Out::default();
        }
    }

    /// The socket, with what was read of it put back in front.
    pub(super) fn into_io(self) -> Io {
        self.io.with_prefix(self.read.freeze())
    }
}

// === impl Out ===

impl Out {
    /// Whether a piece of any size can be added.
    pub(super) fn has_room(&self) -> bool {
        self.large.is_empty() && self.tail.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.small.is_empty() && self.has_room()
    }

    /// The buffer for heads; only while there is room.
    pub(super) fn head(&mut self) -> &mut BytesMut {
        &mut self.small
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.has_room() {
            self.small.extend_from_slice(bytes);
        }
    }

    /// Adds a piece and what ends it; only while there is room.
    pub(super) fn push_data(&mut self, data: Bytes, tail: &'static [u8]) {
        if self.small.len() + data.len() <= COALESCE_BYTES {
            self.small.extend_from_slice(&data);
            self.small.extend_from_slice(tail);
        } else {
            self.large = data;
            self.tail = tail;
        }
    }

    fn slices(&self) -> [IoSlice<'_>; 3] {
        [
            IoSlice::new(&self.small),
            IoSlice::new(&self.large),
            IoSlice::new(self.tail),
        ]
    }

    fn advance(&mut self, mut written: usize) {
        let small = written.min(self.small.len());
        self.small.advance(small);
        written -= small;
        let large = written.min(self.large.len());
        self.large.advance(large);
        self.tail = &self.tail[written - large..];
    }
}

#[cfg(test)]
mod tests {
    use super::{Conn, Decoder};
    use crate::http::body::{Frame, Length};
    use crate::http::test_service::connection;
    use std::future::poll_fn;
    use std::task::Poll;
    use tokio::io::AsyncWriteExt as _;

    #[tokio::test]
    async fn a_body_costs_what_there_is_of_it() {
        let (mut peer, io) = connection().await;
        let mut conn = Conn::new(io);
        conn.decoder = Decoder::for_length(Length::Unknown);
        for _ in 0..10 {
            peer.write_all(b"5\r\nhello\r\n").await.expect("write");
            let frame = poll_fn(|cx| conn.poll_frame(cx)).await;
            let Some(Ok(Frame::Data(data))) = frame else {
                panic!("{frame:?}");
            };
            assert_eq!(&data[..], b"hello");
            assert!(conn.read.capacity() < 64, "{}", conn.read.capacity());
        }
        let waits = poll_fn(|cx| Poll::Ready(conn.poll_frame(cx).is_pending())).await;
        assert!(waits && conn.read.capacity() == 0, "nothing has come");
    }

    #[tokio::test]
    async fn a_large_body_is_read_in_large_pieces() {
        const BYTES: usize = 1 << 20;
        let (mut peer, io) = connection().await;
        let mut conn = Conn::new(io);
        conn.decoder = Decoder::for_length(Length::Known(BYTES as u64));
        let sent = async {
            for byte in 0..16 {
                peer.write_all(&[byte; BYTES / 16]).await.expect("write");
            }
        };
        let received = async {
            let mut received = Vec::new();
            let mut pieces = 0;
            while let Some(frame) = poll_fn(|cx| conn.poll_frame(cx)).await {
                let Ok(Frame::Data(data)) = frame else {
                    panic!("{frame:?}");
                };
                received.extend_from_slice(&data);
                pieces += 1;
            }
            (received, pieces)
        };
        let ((), (received, pieces)) = tokio::join!(sent, received);
        let whole = (0..16).flat_map(|byte| [byte; BYTES / 16]);
        assert!(received.into_iter().eq(whole));
        assert!(pieces < 200, "{pieces}");
    }
}
