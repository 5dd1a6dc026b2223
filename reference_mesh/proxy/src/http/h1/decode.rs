//! Where a body ends, and what of the buffer belongs to it.

use ::http::HeaderMap;
use bytes::{Bytes, BytesMut};

use super::head::parse_trailers;
use crate::http::body::{BodyError, Frame, Length};

/// Longest chunk-size line with its extensions, which are dropped.
const MAX_CHUNK_LINE_BYTES: usize = 256;

/// Largest trailer block.
const MAX_TRAILERS_BYTES: usize = 16 * 1024;

/// Reads one body.
#[derive(Debug)]
pub(super) enum Decoder {
    /// This many bytes are left.
    Length(u64),
    /// Chunked.
    Chunked(Chunk),
    /// All that comes.
    UntilClose,
    /// It ended.
    Done,
}

/// Where in a chunked body the reader is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Chunk {
    /// Before a chunk-size line.
    Size,
    /// This many bytes of the chunk are left, at least one.
    Data(u64),
    /// Before the CRLF that ends a chunk.
    End,
    /// In the trailers.
    Trailers,
}

/// What the buffer yields.
pub(super) enum Decoded {
    /// A piece.
    Frame(Frame),
    /// The end.
    End,
    /// Nothing before more bytes arrive.
    NeedMore,
}

// === impl Decoder ===

impl Decoder {
    pub(super) fn for_length(length: Length) -> Self {
        match length {
            Length::Known(0) => Self::Done,
            Length::Known(len) => Self::Length(len),
            Length::Unknown => Self::Chunked(Chunk::Size),
        }
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }

    pub(super) fn length(&self) -> Length {
        match self {
            Self::Done => Length::Known(0),
            Self::Length(len) => Length::Known(*len),
            Self::Chunked(_) | Self::UntilClose => Length::Unknown,
        }
    }

    /// What the end of the connection means: the end of the body, or a loss.
    pub(super) fn at_eof(&mut self) -> Result<(), BodyError> {
        match self {
            Self::Done => Ok(()),
            Self::UntilClose => {
                *self = Self::Done;
                Ok(())
            }
            Self::Length(_) | Self::Chunked(_) => Err(BodyError::Incomplete),
        }
    }

    /// Takes the next piece off the front of `buf`.
    pub(super) fn decode(&mut self, buf: &mut BytesMut) -> Result<Decoded, BodyError> {
        match self {
            Self::Done => Ok(Decoded::End),
            _ if buf.is_empty() => Ok(Decoded::NeedMore),
            Self::UntilClose => Ok(Decoded::Frame(Frame::Data(buf.split().freeze()))),
            Self::Length(left) => {
                let data = take(buf, *left);
                *left -= data.len() as u64;
                if *left == 0 {
                    *self = Self::Done;
                }
                Ok(Decoded::Frame(Frame::Data(data)))
            }
            Self::Chunked(_) => self.decode_chunked(buf),
        }
    }

    fn decode_chunked(&mut self, buf: &mut BytesMut) -> Result<Decoded, BodyError> {
        while let Self::Chunked(state) = self {
            match *state {
                Chunk::Size => {
                    let Some(line) = take_line(buf, MAX_CHUNK_LINE_BYTES)? else {
                        return Ok(Decoded::NeedMore);
                    };
                    let size = parse_chunk_size(&line)?;
                    *state = if size == 0 {
                        Chunk::Trailers
                    } else {
                        Chunk::Data(size)
                    };
                }
                Chunk::Data(_) if buf.is_empty() => return Ok(Decoded::NeedMore),
                Chunk::Data(left) => {
                    let data = take(buf, left);
                    let left = left - data.len() as u64;
                    *state = if left == 0 {
                        Chunk::End
                    } else {
                        Chunk::Data(left)
                    };
                    return Ok(Decoded::Frame(Frame::Data(data)));
                }
                Chunk::End => {
                    if !b"\r\n".starts_with(&buf[..buf.len().min(2)]) {
                        return Err(BodyError::Malformed("chunk longer than its size"));
                    }
                    if buf.len() < 2 {
                        return Ok(Decoded::NeedMore);
                    }
                    let _ = buf.split_to(2);
                    *state = Chunk::Size;
                }
                Chunk::Trailers => {
                    let Some(trailers) = take_trailers(buf)? else {
                        return Ok(Decoded::NeedMore);
                    };
                    *self = Self::Done;
                    return Ok(match trailers {
                        Some(trailers) => Decoded::Frame(Frame::Trailers(trailers)),
                        None => Decoded::End,
                    });
                }
            }
        }
        Ok(Decoded::End)
    }
}

fn take(buf: &mut BytesMut, most: u64) -> Bytes {
    let len = usize::try_from(most).unwrap_or(usize::MAX).min(buf.len());
    buf.split_to(len).freeze()
}

/// A line without its CRLF; none when it is not complete yet.
fn take_line(buf: &mut BytesMut, max: usize) -> Result<Option<Bytes>, BodyError> {
    let Some(end) = buf.iter().take(max).position(|byte| *byte == b'\n') else {
        return if buf.len() < max {
            Ok(None)
        } else {
            Err(BodyError::Malformed("chunk-size line too long"))
        };
    };
    let line = buf.split_to(end + 1).freeze();
    match line.strip_suffix(b"\r\n") {
        Some(text) if !text.contains(&b'\r') => Ok(Some(line.slice(..text.len()))),
        _ => Err(BodyError::Malformed("chunk-size line without CRLF")),
    }
}

fn parse_chunk_size(line: &[u8]) -> Result<u64, BodyError> {
    if line
        .iter()
        .any(|byte| byte.is_ascii_control() && *byte != b'\t')
    {
        return Err(BodyError::Malformed(
            "control character in a chunk-size line",
        ));
    }
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
    let digits = digits.trim_ascii_end();
    if digits.is_empty() || digits.len() > 16 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(BodyError::Malformed("chunk size is not hexadecimal"));
    }
    let text = std::str::from_utf8(digits).unwrap_or_default();
    u64::from_str_radix(text, 16).map_err(|_| BodyError::Malformed("chunk size out of range"))
}

/// The trailer block, if it is complete; an empty one has no trailers.
fn take_trailers(buf: &mut BytesMut) -> Result<Option<Option<HeaderMap>>, BodyError> {
    if buf.starts_with(b"\r\n") {
        let _ = buf.split_to(2);
        return Ok(Some(None));
    }
    let Some(end) = buf.windows(4).position(|window| window == b"\r\n\r\n") else {
        return if buf.len() < MAX_TRAILERS_BYTES {
            Ok(None)
        } else {
            Err(BodyError::Malformed("trailers too large"))
        };
    };
    let block = buf.split_to(end + 4).freeze();
    parse_trailers(&block)
        .map(|trailers| Some((!trailers.is_empty()).then_some(trailers)))
        .ok_or(BodyError::Malformed("malformed trailers"))
}

#[cfg(test)]
mod properties;

#[cfg(test)]
mod tests {
    use super::{Chunk, Decoded, Decoder};
    use crate::http::body::{BodyError, Frame};
    use bytes::BytesMut;

    /// Decodes `input`, given in pieces of `step` bytes; the body, trailers and what is left.
    pub(super) fn decode(
        input: &[u8],
        step: usize,
    ) -> Result<(Vec<u8>, usize, Vec<u8>), BodyError> {
        let mut decoder = Decoder::Chunked(Chunk::Size);
        let (mut body, mut trailers, mut buf) = (Vec::new(), 0, BytesMut::new());
        let mut pieces = input.chunks(step);
        loop {
            match decoder.decode(&mut buf)? {
                Decoded::Frame(Frame::Data(data)) => body.extend_from_slice(&data),
                Decoded::Frame(Frame::Trailers(map)) => trailers += map.len(),
                Decoded::End => break,
                Decoded::NeedMore => match pieces.next() {
                    Some(piece) => buf.extend_from_slice(piece),
                    None => return Err(BodyError::Incomplete),
                },
            }
        }
        Ok((body, trailers, buf.to_vec()))
    }

    #[test]
    fn chunks_are_read_however_they_arrive() {
        let input = b"4;ext=1\r\nwiki\r\n5 \r\npedia\r\n0\r\nA: b\r\nC: d\r\n\r\n";
        for step in [1, 2, 3, 7, 100] {
            let (body, trailers, _) = decode(input, step).expect("valid");
            assert_eq!(
                (body.as_slice(), trailers),
                (&b"wikipedia"[..], 2),
                "step {step}"
            );
        }
        let (_, _, rest) = decode(b"1\r\nx\r\n0\r\n\r\nGET", 100).expect("valid");
        assert_eq!(rest, b"GET");
    }

    #[test]
    fn malformed_chunks_are_refused() {
        for input in [
            &b"4\nwiki\r\n0\r\n\r\n"[..],
            b"4\r\nwikis\r\n0\r\n\r\n",
            b"-4\r\nwiki\r\n",
            b"0x4\r\nwiki\r\n",
            b"11111111111111111\r\n",
            b"4;a=\x00\r\nwiki\r\n0\r\n\r\n",
            b"\r\n",
            b"4\r\nwiki\n\n0\r\n\r\n",
            b"0\r\nA b\r\n\r\n",
        ] {
            let error = decode(input, 100).expect_err("malformed");
            assert!(
                matches!(error, BodyError::Malformed(_)),
                "{input:?}: {error}"
            );
        }
    }
}
