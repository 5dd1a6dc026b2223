//! When to parse a head that arrives in pieces.
//!
//! Parsing begins at the first byte each time. After every piece that would cost the square of the
//! head's length, which a client could make the whole thread pay. So it is done with the first
//! piece (most heads have no other), with the one that ends the head, and whenever there is twice
//! as much as at the last time: what is malformed is still refused long before its end.

use bytes::{Buf as _, BytesMut};

use super::head::MAX_HEAD_BYTES;

/// How far one head has come.
#[derive(Debug, Default)]
pub(super) struct Arrival {
    parsed: usize,
    seen: usize,
}

// === impl Arrival ===

impl Arrival {
    /// Whether to parse `buf` now. Takes off empty lines in front, which are no part of a head
    /// (RFC 9112 2.2).
    pub(super) fn is_due(&mut self, buf: &mut BytesMut) -> bool {
        while buf.starts_with(b"\r\n") {
            buf.advance(2);
            *self = Self::default();
        }
        // An empty line may have begun in what was there before.
        let unseen = &buf[self.seen.saturating_sub(2)..];
        let is_due = !matches!(&buf[..], b"" | b"\r")
            && (buf.len() >= 2 * self.parsed
                || buf.len() >= MAX_HEAD_BYTES
                || has_empty_line(unseen));
        self.seen = buf.len();
        if is_due {
            self.parsed = buf.len();
        }
        is_due
    }
}

/// Whether a head ends there, also one that is to be refused for its bare LFs.
fn has_empty_line(bytes: &[u8]) -> bool {
    bytes.windows(2).any(|pair| pair == b"\n\n") || bytes.windows(3).any(|three| three == b"\n\r\n")
}

#[cfg(test)]
mod tests {
    use super::super::head::parse_request;
    use super::Arrival;
    use bytes::BytesMut;

    /// How often the head is parsed when it comes in pieces of `step` bytes, and whether it was
    /// complete, or refused, exactly with the last one.
    fn parses(head: &str, step: usize) -> (usize, bool) {
        let (mut arrival, mut buf, mut parses) = (Arrival::default(), BytesMut::new(), 0);
        let pieces = head.len().div_ceil(step);
        for (number, piece) in head.as_bytes().chunks(step).enumerate() {
            buf.extend_from_slice(piece);
            if arrival.is_due(&mut buf) {
                parses += 1;
                if !matches!(parse_request(&mut buf), Ok(None)) {
                    return (parses, number + 1 == pieces);
                }
            }
        }
        (parses, false)
    }

    #[test]
    fn a_head_is_parsed_a_few_times_and_at_its_end() {
        let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(60_000));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: yyyyyyyy\r\n".repeat(100));
        let bare = format!("GET / HTTP/1.1\n{}\n", "X: yyyyyyyy\n".repeat(100));
        let late = format!("{}GET / HTTP/1.1\r\n\r\n", "\r\n".repeat(1000));
        for head in [&long, &many, &bare, &late] {
            for step in [1, 2, 3, 7, 536, 100_000] {
                let (parses, ended) = parses(head, step);
                assert!(ended && parses <= 18, "{parses} parses, by {step} bytes");
            }
        }
    }

    #[test]
    fn what_never_ends_is_refused_at_the_limit() {
        let endless = "x".repeat(70_000);
        assert!(parses(&endless, 1).0 <= 18);
        let (parses, at_the_end) = parses(&format!("{}z", "\n".repeat(70_000)), 1);
        assert!(
            parses == 1 && !at_the_end,
            "a bare LF in front is refused at once"
        );
    }
}
