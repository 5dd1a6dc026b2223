//! Bytes in both directions, until both ends have closed.
//!
//! A direction holds memory only while the receiver is slower than the sender: reads land in a
//! buffer of the thread and are written at once. Each side's end is passed on by itself, so a peer
//! that has finished sending still gets its answer.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::mutants::{self, Mutant};

/// One read. Four TLS records.
const READ_BYTES: usize = 64 * 1024;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into_boxed_slice());
}

/// One direction of a copy.
#[derive(Default)]
struct Way {
    unsent: BytesMut,
    state: State,
    total: u64,
}

#[derive(Default, PartialEq, Eq)]
enum State {
    #[default]
    Copying,
    Closing,
    Done,
}

/// Copies from `a` to `b` and from `b` to `a`. Returns when both have closed.
///
/// # Errors
/// When either breaks; both are then dropped.
pub async fn duplex<A, B>(mut a: A, mut b: B) -> io::Result<()>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let (mut forth, mut back) = (Way::default(), Way::default());
    poll_fn(|cx| {
        let forth_done = forth.poll(cx, &mut a, &mut b)?.is_ready();
        let back_done = back.poll(cx, &mut b, &mut a)?.is_ready();
        let half_close_lost = mutants::active(Mutant::HalfCloseLost) && (forth_done || back_done);
        if (forth_done && back_done) || half_close_lost {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    })
    .await
}

// === impl Way ===

impl Way {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<()>> {
        // A fast pair of sockets must not keep the thread: the budget of the runtime ends the turn.
        while self.state == State::Copying {
            while !self.unsent.is_empty() {
                let written = ready!(Pin::new(&mut *to).poll_write(cx, &self.unsent))?;
                if written == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.unsent.advance(written);
            }
            self.unsent = BytesMut::new();
            match self.poll_pass(cx, from, to) {
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false)) => self.state = State::Closing,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    ready!(Pin::new(&mut *to).poll_flush(cx))?;
                    return Poll::Pending;
                }
            }
        }
        if self.state == State::Closing {
            match ready!(Pin::new(&mut *to).poll_shutdown(cx)) {
                // The receiver may have closed first.
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotConnected => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            self.state = State::Done;
        }
        Poll::Ready(Ok(()))
    }

    /// Reads once and writes what it can; false at the end.
    fn poll_pass(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<bool>> {
        BUFFER.with_borrow_mut(|buffer| {
            let mut read = ReadBuf::new(buffer);
            ready!(Pin::new(from).poll_read(cx, &mut read))?;
            let mut bytes = read.filled();
            if bytes.is_empty() {
                return Poll::Ready(Ok(false));
            }
            self.total += bytes.len() as u64;
            if mutants::active(Mutant::BodyTruncated) && self.total > 1 << 20 {
                return Poll::Ready(Ok(false));
            }
            while !bytes.is_empty() {
                match Pin::new(&mut *to).poll_write(cx, bytes)? {
                    Poll::Ready(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    Poll::Ready(written) => bytes = &bytes[written..],
                    Poll::Pending => {
                        self.unsent.extend_from_slice(bytes);
                        break;
                    }
                }
            }
            Poll::Ready(Ok(true))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::duplex;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test]
    async fn an_end_is_passed_on_by_itself() {
        let (mut client, proxy_client) = tokio::io::duplex(64);
        let (proxy_server, mut server) = tokio::io::duplex(64);
        let client = async {
            client.write_all(&[7; 5000]).await.expect("write");
            client.shutdown().await.expect("shutdown");
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.expect("read");
            answer
        };
        let server = async {
            let mut request = Vec::new();
            server.read_to_end(&mut request).await.expect("read");
            server.write_all(&request[..3000]).await.expect("write");
            drop(server);
            request.len()
        };
        let (copied, answer, request) =
            tokio::join!(duplex(proxy_client, proxy_server), client, server);
        copied.expect("copy");
        assert_eq!((request, answer.len()), (5000, 3000));
    }
}
