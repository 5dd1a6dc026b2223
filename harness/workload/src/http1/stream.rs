//! The receiving half of a connection, with what was read ahead of need.

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::Error;
use super::head::HEAD_LIMIT_BYTES;
use crate::seeded::BLOCK_BYTES;

/// Buffered bytes of a connection. At most one head or one block is held.
#[derive(Debug)]
pub struct Inbound<R> {
    io: R,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> Inbound<R> {
    /// Reads from `io`, after `ahead`, which was read from it before.
    pub fn new(io: R, ahead: BytesMut) -> Self {
        Self { io, buffer: ahead }
    }

    /// The transport, and the bytes that were read from it but not used.
    pub fn into_parts(self) -> (R, BytesMut) {
        (self.io, self.buffer)
    }

    /// The transport.
    pub fn io_mut(&mut self) -> &mut R {
        &mut self.io
    }

    /// What is buffered.
    pub fn buffered(&self) -> &[u8] {
        &self.buffer
    }

    /// Reads more into the buffer; 0 means that the peer closed.
    pub async fn fill(&mut self) -> std::io::Result<usize> {
        self.buffer.reserve(BLOCK_BYTES / 4);
        self.io.read_buf(&mut self.buffer).await
    }

    /// Everything up to the empty line that ends a head, without that line.
    ///
    /// One empty line before the head is skipped, as RFC 9112 2.2 asks of servers.
    pub async fn head(&mut self) -> Result<Bytes, Error> {
        let mut searched = 0;
        loop {
            if searched == 0 && self.buffer.starts_with(b"\r\n") {
                let _ = self.buffer.split_to(2);
            }
            if let Some(at) = find(&self.buffer[searched..], b"\r\n\r\n") {
                let head = self.buffer.split_to(searched + at).freeze();
                let _ = self.buffer.split_to(4);
                return Ok(head);
            }
            // A head whose lines end in a bare LF would never be found to end.
            if find(&self.buffer[searched..], b"\n\n").is_some() {
                return Err(Error::Malformed("head ends with bare LFs".into()));
            }
            if self.buffer.len() > HEAD_LIMIT_BYTES {
                return Err(Error::TooLong("head", HEAD_LIMIT_BYTES));
            }
            searched = self.buffer.len().saturating_sub(3);
            if self.fill().await? == 0 {
                return Err(match self.buffer.is_empty() {
                    true => Error::Closed,
                    false => Error::Truncated("a head"),
                });
            }
        }
    }

    /// One line without its CRLF.
    pub async fn line(&mut self, what: &'static str, limit: usize) -> Result<Bytes, Error> {
        loop {
            if let Some(at) = self.buffer.iter().position(|&byte| byte == b'\n') {
                let line = self.buffer.split_to(at + 1).freeze();
                return match line.strip_suffix(b"\r\n") {
                    Some(text) if !text.contains(&b'\r') => Ok(line.slice(..text.len())),
                    _ => Err(Error::Malformed(format!("bare CR or LF in {what}"))),
                };
            }
            if self.buffer.len() > limit {
                return Err(Error::TooLong(what, limit));
            }
            if self.fill().await? == 0 {
                return Err(Error::Truncated(what));
            }
        }
    }

    /// The first `count` bytes of what is buffered; the caller knows that they are there.
    pub fn take(&mut self, count: usize) -> Bytes {
        self.buffer.split_to(count).freeze()
    }

    /// Between 1 and `limit` bytes; `None` when the peer closed.
    pub async fn some(&mut self, limit: u64) -> std::io::Result<Option<Bytes>> {
        if self.buffer.is_empty() && self.fill().await? == 0 {
            return Ok(None);
        }
        let count = limit.min(self.buffer.len() as u64).min(BLOCK_BYTES as u64) as usize;
        Ok(Some(self.buffer.split_to(count).freeze()))
    }
}

/// Where `needle` begins in `hay`.
pub fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    if needle.is_empty() || hay.len() < needle.len() {
        return None;
    }
    // Looking for one byte first lets the compiler use its vector search.
    let last = hay.len() - needle.len();
    let mut from = 0;
    while from <= last {
        let at = from
            + hay[from..=last]
                .iter()
                .position(|&byte| byte == needle[0])?;
        if hay[at..].starts_with(needle) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::find;

    #[test]
    fn finds_what_is_there() {
        assert_eq!(find(b"aab", b"ab"), Some(1));
        assert_eq!(find(b"aab", b"b"), Some(2));
        assert_eq!(find(b"aab", b"ba"), None);
        assert_eq!(find(b"a", b"aa"), None);
        assert_eq!(find(b"", b""), None);
    }
}
