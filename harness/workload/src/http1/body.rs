//! How a body is delimited, read strictly (RFC 9112 section 6).

use bytes::Bytes;
use tokio::io::AsyncRead;

use super::head::{Fields, all, field, latin1};
use super::{Error, Inbound};

const CHUNK_LINE_LIMIT_BYTES: usize = 4096;
const TRAILER_LIMIT_BYTES: usize = 64 * 1024;

/// What ends a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    None,
    /// That many bytes.
    Length(u64),
    /// The last chunk.
    Chunked,
    /// The end of the connection.
    Close,
}

impl Framing {
    /// Framing of a request. Both a length and a transfer coding, or two different lengths, are
    /// refused: proxies that disagree on them are what request smuggling lives on.
    pub fn of_request(fields: &Fields, minor: u8) -> Result<Self, Error> {
        Ok(declared(fields, minor)?.unwrap_or(Self::None))
    }

    /// Framing of a response with `status` to a request with `method`.
    pub fn of_response(
        fields: &Fields,
        minor: u8,
        method: &str,
        status: u16,
    ) -> Result<Self, Error> {
        let bodyless = method == "HEAD" || status < 200 || status == 204 || status == 304;
        if bodyless || (method == "CONNECT" && status < 300) {
            return Ok(Self::None);
        }
        Ok(declared(fields, minor)?.unwrap_or(Self::Close))
    }
}

fn declared(fields: &Fields, minor: u8) -> Result<Option<Framing>, Error> {
    let mut lengths = all(fields, "content-length");
    let length = lengths.next();
    if lengths.any(|other| Some(other) != length) {
        return Err(Error::Malformed("different Content-Length fields".into()));
    }
    let codings: Vec<&str> = all(fields, "transfer-encoding").collect();
    match (length, codings.as_slice()) {
        (None, []) => Ok(None),
        (Some(_), [_, ..]) => Err(Error::Malformed(
            "Content-Length beside Transfer-Encoding".into(),
        )),
        (None, [coding]) if coding.eq_ignore_ascii_case("chunked") && minor == 1 => {
            Ok(Some(Framing::Chunked))
        }
        (None, _) => Err(Error::Malformed(format!(
            "Transfer-Encoding {:?}",
            codings.join(",")
        ))),
        (Some(digits), []) => digits
            .bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| digits.parse().ok())
            .flatten()
            .map(|length| Some(Framing::Length(length)))
            .ok_or_else(|| Error::Malformed("Content-Length is not a number".into())),
    }
}

/// Reads one body piece by piece.
#[derive(Debug)]
pub struct Reader {
    state: State,
    trailers: Fields,
}

#[derive(Debug)]
enum State {
    Counted(u64),
    UntilClose,
    ChunkSize,
    Chunk(u64),
    Done,
}

impl Reader {
    /// A reader of a body that `framing` ends.
    pub fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Counted(length),
            Framing::Chunked => State::ChunkSize,
            Framing::Close => State::UntilClose,
        };
        Self {
            state,
            trailers: Fields::new(),
        }
    }

    /// Whether the whole body was read.
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Trailer fields; complete once the body is.
    pub fn trailers(&self) -> &Fields {
        &self.trailers
    }

    /// The next piece; `None` at the end of the body.
    pub async fn next<R>(&mut self, inbound: &mut Inbound<R>) -> Result<Option<Bytes>, Error>
    where
        R: AsyncRead + Unpin,
    {
        loop {
            match self.state {
                State::Done => return Ok(None),
                State::UntilClose => {
                    let piece = inbound.some(u64::MAX).await?;
                    if piece.is_none() {
                        self.state = State::Done;
                    }
                    return Ok(piece);
                }
                State::Counted(left) => {
                    let piece = inbound
                        .some(left)
                        .await?
                        .ok_or(Error::Truncated("a counted body"))?;
                    self.state = match left - piece.len() as u64 {
                        0 => State::Done,
                        left => State::Counted(left),
                    };
                    return Ok(Some(piece));
                }
                State::ChunkSize => {
                    let line = inbound.line("a chunk size", CHUNK_LINE_LIMIT_BYTES).await?;
                    self.state = match chunk_size(&line)? {
                        0 => {
                            self.read_trailers(inbound).await?;
                            State::Done
                        }
                        size => State::Chunk(size),
                    };
                }
                State::Chunk(left) => {
                    let piece = inbound
                        .some(left)
                        .await?
                        .ok_or(Error::Truncated("a chunk"))?;
                    let left = left - piece.len() as u64;
                    self.state = State::Chunk(left);
                    if left == 0 {
                        if !inbound.line("a chunk's end", 2).await?.is_empty() {
                            return Err(Error::Malformed("chunk longer than its size".into()));
                        }
                        self.state = State::ChunkSize;
                    }
                    return Ok(Some(piece));
                }
            }
        }
    }

    async fn read_trailers<R>(&mut self, inbound: &mut Inbound<R>) -> Result<(), Error>
    where
        R: AsyncRead + Unpin,
    {
        let mut total = 0;
        loop {
            let line = inbound.line("trailers", TRAILER_LIMIT_BYTES).await?;
            if line.is_empty() {
                return Ok(());
            }
            total += line.len();
            if total > TRAILER_LIMIT_BYTES {
                return Err(Error::TooLong("trailers", TRAILER_LIMIT_BYTES));
            }
            self.trailers.push(field(&latin1(&line))?);
        }
    }
}

fn chunk_size(line: &[u8]) -> Result<u64, Error> {
    let text = latin1(line);
    let digits = text
        .split(';')
        .next()
        .unwrap_or_default()
        .trim_end_matches([' ', '\t']);
    // from_str_radix would take a sign.
    if digits.bytes().all(|byte| byte.is_ascii_hexdigit())
        && let Ok(size) = u64::from_str_radix(digits, 16)
    {
        return Ok(size);
    }
    Err(Error::Malformed(format!(
        "chunk size {:?}",
        digits.chars().take(40).collect::<String>()
    )))
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;

    fn fields(list: &[(&str, &str)]) -> Fields {
        list.iter()
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect()
    }

    #[test]
    fn ambiguous_framing_is_refused() {
        for list in [
            &[("Content-Length", "1"), ("Transfer-Encoding", "chunked")][..],
            &[("Content-Length", "1"), ("content-length", "2")],
            &[("Content-Length", "+1")],
            &[("Content-Length", "")],
            &[("Transfer-Encoding", "gzip, chunked")],
            &[
                ("Transfer-Encoding", "chunked"),
                ("Transfer-Encoding", "chunked"),
            ],
        ] {
            assert!(Framing::of_request(&fields(list), 1).is_err(), "{list:?}");
        }
        let chunked = fields(&[("transfer-encoding", "Chunked")]);
        assert_eq!(Framing::of_request(&chunked, 1).unwrap(), Framing::Chunked);
        assert!(Framing::of_request(&chunked, 0).is_err());
    }

    #[test]
    fn responses_without_a_body_have_none_whatever_they_declare() {
        let list = fields(&[("content-length", "5")]);
        for (method, status) in [("HEAD", 200), ("GET", 204), ("GET", 304), ("CONNECT", 200)] {
            assert_eq!(
                Framing::of_response(&list, 1, method, status).unwrap(),
                Framing::None,
                "{method} {status}"
            );
        }
        assert_eq!(
            Framing::of_response(&list, 1, "GET", 200).unwrap(),
            Framing::Length(5)
        );
        assert_eq!(
            Framing::of_response(&Fields::new(), 1, "GET", 200).unwrap(),
            Framing::Close
        );
    }

    async fn read(text: &'static [u8], framing: Framing) -> Result<(Vec<u8>, Fields), Error> {
        let mut inbound = Inbound::new(text, BytesMut::new());
        let mut reader = Reader::new(framing);
        let mut body = Vec::new();
        while let Some(piece) = reader.next(&mut inbound).await? {
            body.extend_from_slice(&piece);
        }
        Ok((body, reader.trailers().clone()))
    }

    #[tokio::test]
    async fn chunks_and_trailers() {
        let (body, trailers) = read(
            b"3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nA: b\r\n\r\n",
            Framing::Chunked,
        )
        .await
        .unwrap();
        assert_eq!(body, b"abcde");
        assert_eq!(trailers, fields(&[("A", "b")]));
    }

    #[tokio::test]
    async fn bad_chunks_are_refused() {
        for text in [
            b"+3\r\nabc\r\n0\r\n\r\n".as_slice(),
            b"3\nabc\r\n0\r\n\r\n",
            b"2\r\nabc\r\n0\r\n\r\n",
            b"\r\nabc",
            b"fffffffffffffffff\r\n",
        ] {
            assert!(read(text, Framing::Chunked).await.is_err(), "{text:?}");
        }
        assert!(matches!(
            read(b"3\r\nab", Framing::Chunked).await,
            Err(Error::Truncated(_))
        ));
        assert!(matches!(
            read(b"ab", Framing::Length(3)).await,
            Err(Error::Truncated(_))
        ));
    }
}
