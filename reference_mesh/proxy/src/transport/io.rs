//! A connection as the rest of the proxy sees it: plain or TLS, counted, with bytes put back.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::{client, server};

use crate::telemetry::{Counter, Open};

/// A socket with bytes in front of it that were read to look at them.
#[derive(Debug)]
pub struct Rewind {
    prefix: Bytes,
    tcp: TcpStream,
}

/// A connection. Its metrics count it as open until it is dropped.
pub struct Io {
    stream: Stream,
    prefix: Bytes,
    open: Option<Open>,
    /// Bytes received and sent, by what they cost.
    cost: Option<(Counter, Counter)>,
}

enum Stream {
    Plain(Rewind),
    Server(Box<server::TlsStream<Rewind>>),
    Client(Box<client::TlsStream<TcpStream>>),
    Closed,
}

// === impl Rewind ===

impl Rewind {
    /// A socket that first yields `prefix`.
    #[must_use]
    pub fn new(tcp: TcpStream, prefix: Bytes) -> Self {
        Self { prefix, tcp }
    }
}

impl AsyncRead for Rewind {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if read_prefix(&mut self.prefix, buf) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for Rewind {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}

// === impl Io ===

impl Io {
    /// Without TLS of this proxy.
    #[must_use]
    pub fn plain(tcp: TcpStream) -> Self {
        Self::over(Stream::Plain(Rewind::new(tcp, Bytes::new())))
    }

    /// Without TLS of this proxy, after a look at its first bytes.
    #[must_use]
    pub fn rewound(tcp: Rewind) -> Self {
        Self::over(Stream::Plain(tcp))
    }

    /// TLS that this proxy terminated.
    #[must_use]
    pub fn server(tls: server::TlsStream<Rewind>) -> Self {
        Self::over(Stream::Server(Box::new(tls)))
    }

    /// TLS that this proxy began.
    #[must_use]
    pub fn client(tls: client::TlsStream<TcpStream>) -> Self {
        Self::over(Stream::Client(Box::new(tls)))
    }

    /// A connection that is at its end: reads yield nothing, writes fail.
    #[must_use]
    pub fn closed() -> Self {
        Self::over(Stream::Closed)
    }

    fn over(stream: Stream) -> Self {
        Self {
            stream,
            prefix: Bytes::new(),
            open: None,
            cost: None,
        }
    }

    /// Puts bytes back, in front of what is still to be read.
    #[must_use]
    pub fn with_prefix(mut self, prefix: Bytes) -> Self {
        self.prefix = match (prefix.is_empty(), self.prefix.is_empty()) {
            (true, _) => self.prefix,
            (false, true) => prefix,
            (false, false) => [prefix, self.prefix].concat().into(),
        };
        self
    }

    /// Counts the connection, and its bytes from now on.
    #[must_use]
    pub fn counted(mut self, open: Open) -> Self {
        open.read(self.prefix.len());
        self.open = Some(open);
        self
    }

    /// Counts the bytes by what they cost, too: those received and those sent.
    #[must_use]
    pub fn costing(mut self, received_and_sent: (Counter, Counter)) -> Self {
        self.cost = Some(received_and_sent);
        self
    }

    /// Makes the drop a reset: for a peer that would take an ordinary end for an agreed one. What
    /// the peer has no room for yet is then lost.
    pub fn reset_when_dropped(&self) {
        let tcp = match &self.stream {
            Stream::Plain(stream) => &stream.tcp,
            Stream::Server(stream) => &stream.get_ref().0.tcp,
            Stream::Client(stream) => stream.get_ref().0,
            Stream::Closed => return,
        };
        // One that has broken already needs no more.
        let _ = tcp.set_zero_linger();
    }

    fn note<T>(&mut self, result: &io::Result<T>) {
        if let (Some(open), Err(error)) = (&mut self.open, result) {
            open.fail(error);
        }
    }

    fn wrote(&mut self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let result = ready!(result);
        self.note(&result);
        if let Ok(len) = result {
            if let Some(open) = &self.open {
                open.written(len);
            }
            if let Some((_, sent)) = &self.cost {
                sent.add(len as u64);
            }
        }
        Poll::Ready(result)
    }
}

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if read_prefix(&mut self.prefix, buf) {
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let result = ready!(match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Server(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
            Stream::Client(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
            Stream::Closed => Poll::Ready(Ok(())),
        });
        self.note(&result);
        let len = buf.filled().len() - before;
        if let Some(open) = &self.open {
            open.read(len);
        }
        if let Some((received, _)) = &self.cost {
            received.add(len as u64);
        }
        Poll::Ready(result)
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Server(stream) => Pin::new(stream.as_mut()).poll_write(cx, buf),
            Stream::Client(stream) => Pin::new(stream.as_mut()).poll_write(cx, buf),
            Stream::Closed => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        };
        self.wrote(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Stream::Server(stream) => Pin::new(stream.as_mut()).poll_write_vectored(cx, bufs),
            Stream::Client(stream) => Pin::new(stream.as_mut()).poll_write_vectored(cx, bufs),
            Stream::Closed => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        };
        self.wrote(result)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = ready!(match &mut self.stream {
            Stream::Plain(_) | Stream::Closed => return Poll::Ready(Ok(())),
            Stream::Server(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
            Stream::Client(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        });
        self.note(&result);
        Poll::Ready(result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Server(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
            Stream::Client(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
            Stream::Closed => Poll::Ready(Ok(())),
        }
    }
}

impl fmt::Debug for Io {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.stream {
            Stream::Plain(_) => "Io::Plain",
            Stream::Server(_) => "Io::Server",
            Stream::Client(_) => "Io::Client",
            Stream::Closed => "Io::Closed",
        })
    }
}

/// Yields from the prefix; false when it has nothing left.
fn read_prefix(prefix: &mut Bytes, buf: &mut ReadBuf<'_>) -> bool {
    if prefix.is_empty() {
        return false;
    }
    let len = prefix.len().min(buf.remaining());
    buf.put_slice(&prefix[..len]);
    prefix.advance(len);
    if prefix.is_empty() {
        *prefix = Bytes::new();
    }
    true
}
