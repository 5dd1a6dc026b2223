//! The transport header: what the client's proxy tells the server's before the first byte.
//!
//! It is sent only after both have agreed on the ALPN protocol `transport.l5d.io/v1`. On the wire: a
//! preface, the length as four bytes, big-endian, and the message.

use std::io;

use bytes::{Buf as _, BufMut as _, BytesMut};
use prost::Message;
use tokio::io::{AsyncRead, AsyncReadExt as _};

const PREFACE: &[u8] = b"transport.l5d.io/v1\r\n\r\n";

/// Largest message. A port, a DNS name and a protocol need far less.
const MAX_MESSAGE_BYTES: usize = 4 * 1024;

/// The message.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Header {
    /// The application's port.
    #[prost(int32, tag = "1")]
    pub port: i32,
    /// Name of the service, when a gateway is to route to it.
    #[prost(string, tag = "2")]
    pub name: String,
    /// What follows.
    #[prost(message, optional, tag = "3")]
    pub session_protocol: Option<SessionProtocol>,
}

/// What follows the header.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct SessionProtocol {
    /// The protocol; none is opaque.
    #[prost(oneof = "Kind", tags = "1, 2")]
    pub kind: Option<Kind>,
}

/// A session protocol.
#[derive(Clone, Copy, PartialEq, Eq, prost::Oneof)]
pub enum Kind {
    /// HTTP/1.
    #[prost(message, tag = "1")]
    Http1(Empty),
    /// HTTP/2.
    #[prost(message, tag = "2")]
    Http2(Empty),
}

/// Nothing.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Empty {}

// === impl Header ===

impl Header {
    /// Announces a session on `port`.
    #[must_use]
    pub fn new(port: u16, kind: Option<Kind>, name: Option<&str>) -> Self {
        Self {
            port: port.into(),
            name: name.unwrap_or_default().to_owned(),
            session_protocol: kind.map(|kind| SessionProtocol { kind: Some(kind) }),
        }
    }

    /// What follows; none is opaque.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        self.session_protocol.and_then(|protocol| protocol.kind)
    }

    /// The bytes to send.
    #[must_use]
    pub fn encode_framed(&self) -> BytesMut {
        let len = self.encoded_len();
        let mut buf = BytesMut::with_capacity(PREFACE.len() + 4 + len);
        buf.put_slice(PREFACE);
        // A message is far below 4 GiB.
        buf.put_u32(u32::try_from(len).unwrap_or(u32::MAX));
        // The buffer grows, so encoding cannot fail.
        let _ = self.encode(&mut buf);
        buf
    }

    /// Reads a header; what was read beyond it is returned with it.
    ///
    /// # Errors
    /// When the connection ends first, or what comes is no header.
    pub async fn read(io: &mut (impl AsyncRead + Unpin)) -> io::Result<(Self, BytesMut)> {
        let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let mut buf = BytesMut::with_capacity(512);
        let frame_len = loop {
            let seen = buf.len().min(PREFACE.len());
            if buf[..seen] != PREFACE[..seen] {
                return Err(invalid("no transport header"));
            }
            if let Some(mut rest) = buf.get(PREFACE.len()..).filter(|rest| rest.len() >= 4) {
                let len = rest.get_u32() as usize;
                if len > MAX_MESSAGE_BYTES {
                    return Err(invalid("transport header too large"));
                }
                if rest.len() >= len {
                    break len;
                }
            }
            if io.read_buf(&mut buf).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        };
        buf.advance(PREFACE.len() + 4);
        let header = Self::decode(buf.split_to(frame_len).freeze())
            .map_err(|_| invalid("malformed transport header"))?;
        Ok((header, buf))
    }
}

#[cfg(test)]
mod properties;

#[cfg(test)]
mod tests {
    use super::{Empty, Header, Kind};

    #[tokio::test]
    async fn a_header_is_read_back_with_what_follows_left() {
        let sent = Header::new(8080, Some(Kind::Http2(Empty {})), None);
        let mut wire = sent.encode_framed();
        wire.extend_from_slice(b"PRI");
        let (header, rest) = Header::read(&mut &wire[..]).await.expect("valid");
        assert_eq!((header, &rest[..]), (sent, &b"PRI"[..]));
    }

    #[tokio::test]
    async fn other_bytes_are_no_header() {
        for wire in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"transport.l5d.io/v1\r\n\r\n\xff\xff\xff\xff",
        ] {
            assert!(Header::read(&mut &wire[..]).await.is_err());
        }
    }
}
