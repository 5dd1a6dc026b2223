//! WebSocket framing (RFC 6455), for the server and the client of the workload.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::AsyncRead;

use crate::http1::{Error, Inbound};

/// Longest payload of one frame that is read.
pub const FRAME_LIMIT_BYTES: u64 = 16 << 20;

const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Kinds of frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// Goes on with the message before.
    Continuation,
    /// Begins a text message.
    Text,
    /// Begins a binary message.
    Binary,
    /// Ends the connection.
    Close,
    /// Asks for a pong.
    Ping,
    /// Answers a ping.
    Pong,
}

/// One frame, unmasked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Whether it ends its message.
    pub last: bool,
    /// Its kind.
    pub opcode: Opcode,
    /// Its payload.
    pub payload: Vec<u8>,
}

/// `Sec-WebSocket-Accept` for a `Sec-WebSocket-Key`.
pub fn accept_of(key: &str) -> String {
    let digest = aws_lc_rs::digest::digest(
        &aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY,
        format!("{key}{GUID}").as_bytes(),
    );
    STANDARD.encode(digest.as_ref())
}

impl Frame {
    /// The frame on the wire; clients must give a mask, servers none.
    pub fn render(&self, mask: Option<[u8; 4]>) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.payload.len() + 14);
        out.push(u8::from(self.last) << 7 | self.opcode.number());
        let masked = u8::from(mask.is_some()) << 7;
        match self.payload.len() {
            length @ 0..=125 => out.push(masked | length as u8),
            length @ 126..=0xffff => {
                out.push(masked | 126);
                out.extend_from_slice(&(length as u16).to_be_bytes());
            }
            length => {
                out.push(masked | 127);
                out.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        match mask {
            None => out.extend_from_slice(&self.payload),
            Some(mask) => {
                out.extend_from_slice(&mask);
                out.extend(
                    self.payload
                        .iter()
                        .zip(mask.iter().cycle())
                        .map(|(b, m)| b ^ m),
                );
            }
        }
        out
    }
}

/// Reads one frame and takes its mask off.
pub async fn read_frame<R: AsyncRead + Unpin>(inbound: &mut Inbound<R>) -> Result<Frame, Error> {
    loop {
        if let Some((header, length)) = header(inbound.buffered())?
            && inbound.buffered().len() >= header.bytes + length
        {
            let payload = inbound.take(header.bytes + length)[header.bytes..].to_vec();
            return Ok(header.frame(payload));
        }
        if inbound.fill().await? == 0 {
            return Err(Error::Truncated("a WebSocket frame"));
        }
    }
}

struct Header {
    last: bool,
    opcode: Opcode,
    mask: Option<[u8; 4]>,
    bytes: usize,
}

impl Header {
    fn frame(self, mut payload: Vec<u8>) -> Frame {
        if let Some(mask) = self.mask {
            payload
                .iter_mut()
                .zip(mask.iter().cycle())
                .for_each(|(byte, mask)| *byte ^= mask);
        }
        Frame {
            last: self.last,
            opcode: self.opcode,
            payload,
        }
    }
}

/// The header at the start of `data` and its payload's length; `None` when there is too little.
fn header(data: &[u8]) -> Result<Option<(Header, usize)>, Error> {
    let [first, second, rest @ ..] = data else {
        return Ok(None);
    };
    let extra = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let masked = second & 0x80 != 0;
    let Some(after) = rest.get(..extra + if masked { 4 } else { 0 }) else {
        return Ok(None);
    };
    let length = match extra {
        0 => u64::from(second & 0x7f),
        _ => after[..extra]
            .iter()
            .fold(0, |sum, &byte| sum << 8 | u64::from(byte)),
    };
    if length > FRAME_LIMIT_BYTES {
        return Err(Error::TooLong(
            "a WebSocket frame",
            FRAME_LIMIT_BYTES as usize,
        ));
    }
    let mask = masked.then(|| {
        [
            after[extra],
            after[extra + 1],
            after[extra + 2],
            after[extra + 3],
        ]
    });
    let opcode = Opcode::of(first & 0x0f)?;
    let header = Header {
        last: first & 0x80 != 0,
        opcode,
        mask,
        bytes: 2 + after.len(),
    };
    Ok(Some((header, length as usize)))
}

impl Opcode {
    fn number(self) -> u8 {
        match self {
            Self::Continuation => 0,
            Self::Text => 1,
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }

    fn of(number: u8) -> Result<Self, Error> {
        [
            Self::Continuation,
            Self::Text,
            Self::Binary,
            Self::Close,
            Self::Ping,
            Self::Pong,
        ]
        .into_iter()
        .find(|opcode| opcode.number() == number)
        .ok_or_else(|| Error::Malformed(format!("WebSocket opcode {number}")))
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;

    #[test]
    fn accept_agrees_with_the_rfc() {
        assert_eq!(
            accept_of("dGhlIHNhbXBsZSBub25jZQ=="),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
    }

    #[tokio::test]
    async fn frames_of_every_length_survive() {
        for length in [0, 125, 126, 65_535, 65_536] {
            let payload: Vec<u8> = (0..length).map(|n| n as u8).collect();
            let frame = Frame {
                last: true,
                opcode: Opcode::Binary,
                payload,
            };
            for mask in [None, Some([1, 2, 3, 4])] {
                let wire = frame.render(mask);
                let mut inbound = Inbound::new(wire.as_slice(), BytesMut::new());
                assert_eq!(read_frame(&mut inbound).await.unwrap(), frame, "{length}");
            }
        }
    }
}
