//! The header that Linkerd proxies send ahead of a tagged connection.
//!
//! `transport.l5d.io/v1\r\n\r\n`, a length (u32, big endian), and a protobuf message with three
//! fields, written and read by hand: `port` (1, int32), `name` (2, string) and `session_protocol`
//! (3, a message whose field 1 or 2 says HTTP/1 or HTTP/2).

use bytes::BufMut;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncRead;

use crate::http1::{Error, Inbound};

/// Sent first.
pub const PREFACE: &[u8] = b"transport.l5d.io/v1\r\n\r\n";

/// ALPN protocol that announces the header.
pub const ALPN: &[u8] = b"transport.l5d.io/v1";

/// Longest message that is read.
const LIMIT_BYTES: usize = 64 * 1024;

/// Protocol inside the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SessionProtocol {
    /// HTTP/1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// The message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TransportHeader {
    /// Port that the connection is meant for.
    pub port: i32,
    /// Name of a gateway's target.
    pub name: String,
    /// What is spoken; `None` for opaque bytes.
    pub session_protocol: Option<SessionProtocol>,
}

impl TransportHeader {
    /// Preface, length and message.
    pub fn render(&self) -> Vec<u8> {
        let mut message = Vec::new();
        if self.port != 0 {
            message.push(1 << 3);
            put_varint(&mut message, i64::from(self.port) as u64);
        }
        if !self.name.is_empty() {
            message.push(2 << 3 | 2);
            put_varint(&mut message, self.name.len() as u64);
            message.extend_from_slice(self.name.as_bytes());
        }
        if let Some(protocol) = self.session_protocol {
            let field = if protocol == SessionProtocol::Http1 {
                1
            } else {
                2
            };
            message.extend_from_slice(&[3 << 3 | 2, 2, field << 3 | 2, 0]);
        }
        let mut out = PREFACE.to_vec();
        out.put_u32(message.len() as u32);
        out.extend_from_slice(&message);
        out
    }

    /// Reads preface, length and message from a connection.
    pub async fn read<R: AsyncRead + Unpin>(inbound: &mut Inbound<R>) -> Result<Self, Error> {
        let start = PREFACE.len() + 4;
        loop {
            let have = inbound.buffered();
            let compared = have.len().min(PREFACE.len());
            if have[..compared] != PREFACE[..compared] {
                return Err(Error::Malformed("no transport header".into()));
            }
            if let Some(length) = have.get(PREFACE.len()..start) {
                let length = length
                    .iter()
                    .fold(0, |sum, &byte| sum << 8 | usize::from(byte));
                if length > LIMIT_BYTES {
                    return Err(Error::TooLong("a transport header", LIMIT_BYTES));
                }
                if have.len() >= start + length {
                    let message = inbound.take(start + length).slice(start..);
                    return Self::parse(&message)
                        .ok_or_else(|| Error::Malformed("transport header message".into()));
                }
            }
            if inbound.fill().await? == 0 {
                return Err(Error::Truncated("a transport header"));
            }
        }
    }

    fn parse(mut data: &[u8]) -> Option<Self> {
        let mut header = Self::default();
        while !data.is_empty() {
            let tag = take_varint(&mut data)?;
            match (tag >> 3, tag & 7) {
                (1, 0) => header.port = take_varint(&mut data)? as i32,
                (number, 2) => {
                    let length = take_varint(&mut data)? as usize;
                    let value = data.get(..length)?;
                    data = &data[length..];
                    match (number, value.first()) {
                        (2, _) => header.name = String::from_utf8_lossy(value).into_owned(),
                        (3, Some(0x0a)) => header.session_protocol = Some(SessionProtocol::Http1),
                        (3, Some(0x12)) => header.session_protocol = Some(SessionProtocol::Http2),
                        _ => {}
                    }
                }
                _ => return None,
            }
        }
        Some(header)
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn take_varint(data: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = data.split_first()?;
        *data = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;

    #[tokio::test]
    async fn headers_survive_and_what_follows_is_left() {
        for session_protocol in [
            None,
            Some(SessionProtocol::Http1),
            Some(SessionProtocol::Http2),
        ] {
            let header = TransportHeader {
                port: 8080,
                name: "a.b".into(),
                session_protocol,
            };
            let wire = [header.render(), b"rest".to_vec()].concat();
            let mut inbound = Inbound::new(wire.as_slice(), BytesMut::new());
            assert_eq!(TransportHeader::read(&mut inbound).await.unwrap(), header);
            assert_eq!(inbound.buffered(), b"rest");
        }
    }

    #[test]
    fn the_wire_form_is_linkerds() {
        let session_protocol = Some(SessionProtocol::Http2);
        let header = TransportHeader {
            port: 8080,
            name: String::new(),
            session_protocol,
        };
        let mut expected = PREFACE.to_vec();
        expected.extend_from_slice(&[0, 0, 0, 7, 0x08, 0x90, 0x3f, 0x1a, 0x02, 0x12, 0x00]);
        assert_eq!(header.render(), expected);
    }

    #[tokio::test]
    async fn garbage_is_refused() {
        for wire in [
            b"GET / HTTP/1.1".as_slice(),
            b"transport.l5d.io/v1\r\n\r\n\xff\xff\xff\xff",
        ] {
            let mut inbound = Inbound::new(wire, BytesMut::new());
            assert!(TransportHeader::read(&mut inbound).await.is_err());
        }
    }
}
