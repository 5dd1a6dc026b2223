//! Byte streams that can also be cut off.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// A connection of any kind.
pub trait Transport: AsyncRead + AsyncWrite + Unpin + Send {
    /// Makes the close that follows a TCP reset instead of an orderly end.
    fn reset_on_close(&self);
}

/// A connection of a kind that only its maker knows.
pub type Boxed = Box<dyn Transport>;

impl Transport for TcpStream {
    fn reset_on_close(&self) {
        // Fails only on a socket that is gone already, and then there is nothing to reset.
        let _ = self.set_zero_linger();
    }
}

impl Transport for tokio_rustls::server::TlsStream<TcpStream> {
    fn reset_on_close(&self) {
        self.get_ref().0.reset_on_close();
    }
}

impl Transport for tokio_rustls::client::TlsStream<TcpStream> {
    fn reset_on_close(&self) {
        self.get_ref().0.reset_on_close();
    }
}
