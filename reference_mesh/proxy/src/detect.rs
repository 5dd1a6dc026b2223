//! Recognising what a connection speaks by its first bytes.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::TcpStream;

use crate::tls::{self, ClientHello, MAX_CLIENT_HELLO_BYTES};
use crate::transport::{Io, Rewind};

/// How HTTP/2 begins; as much of its preface as no HTTP/1 request can have.
const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0";

/// Bytes in which HTTP must show.
const MAX_HTTP_BYTES: usize = 1024;

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Http {
    /// HTTP/1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// What the first bytes were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detected {
    /// HTTP.
    Http(Http),
    /// Something else.
    Other,
    /// Nothing, for as long as the time-out.
    TimedOut,
    /// The end.
    Closed,
}

/// Looks for HTTP; what was read is put back.
///
/// # Errors
/// When the connection breaks.
pub async fn http(mut io: Io, timeout: Duration) -> io::Result<(Detected, Io)> {
    let mut buf = BytesMut::new();
    let detected = match tokio::time::timeout(timeout, read_http(&mut io, &mut buf)).await {
        Ok(detected) => detected?,
        Err(_) => Detected::TimedOut,
    };
    Ok((detected, io.with_prefix(buf.freeze())))
}

async fn read_http(io: &mut (impl AsyncRead + Unpin), buf: &mut BytesMut) -> io::Result<Detected> {
    buf.reserve(MAX_HTTP_BYTES);
    while buf.len() < MAX_HTTP_BYTES {
        if io.read_buf(buf).await? == 0 {
            return Ok(if buf.is_empty() {
                Detected::Closed
            } else {
                Detected::Other
            });
        }
        if let Some(detected) = judge_http(buf) {
            return Ok(detected);
        }
    }
    Ok(Detected::Other)
}

/// What the bytes are, once there are enough of them.
fn judge_http(bytes: &[u8]) -> Option<Detected> {
    let seen = bytes.len().min(H2_PREFACE.len());
    if bytes[..seen] == H2_PREFACE[..seen] {
        return (seen == H2_PREFACE.len()).then_some(Detected::Http(Http::Http2));
    }
    let mut headers = [httparse::EMPTY_HEADER; 1];
    let parsed = httparse::Request::new(&mut headers).parse(bytes);
    match parsed {
        Ok(_) | Err(httparse::Error::TooManyHeaders) if bytes.len() >= H2_PREFACE.len() => {
            Some(Detected::Http(Http::Http1))
        }
        Ok(_) | Err(httparse::Error::TooManyHeaders) => None,
        // A request line that is HTTP/1 and headers that are not: the HTTP server refuses it.
        Err(_) if is_request_line(bytes) => Some(Detected::Http(Http::Http1)),
        Err(_) => Some(Detected::Other),
    }
}

/// Whether the first line names HTTP, in whatever way: an application that is less strict than this
/// proxy must not get as bytes what nobody has judged as a request.
fn is_request_line(bytes: &[u8]) -> bool {
    let line = bytes
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    line.windows(b" HTTP/".len())
        .any(|window| window.eq_ignore_ascii_case(b" HTTP/"))
}

/// What a connection that may be TLS begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// A ClientHello for this name; none has no name.
    Hello(Option<String>),
    /// No TLS.
    None,
    /// Nothing, for as long as the time-out.
    TimedOut,
}

/// Looks for a ClientHello; what was read is put back.
///
/// # Errors
/// When the connection breaks.
pub async fn tls(mut tcp: TcpStream, timeout: Duration) -> io::Result<(Tls, Rewind)> {
    let (detected, read) = look_for_tls(&mut tcp, timeout).await?;
    Ok((detected, Rewind::new(tcp, read)))
}

/// As [`tls`], for TLS that is only routed by its name and never terminated.
///
/// # Errors
/// When the connection breaks.
pub async fn sni(mut io: Io, timeout: Duration) -> io::Result<(Tls, Io)> {
    let (detected, read) = look_for_tls(&mut io, timeout).await?;
    Ok((detected, io.with_prefix(read)))
}

/// What the bytes are, and the bytes.
async fn look_for_tls(
    io: &mut (impl AsyncRead + Unpin),
    timeout: Duration,
) -> io::Result<(Tls, Bytes)> {
    let mut buf = BytesMut::new();
    let detected = match tokio::time::timeout(timeout, read_tls(io, &mut buf)).await {
        Ok(detected) => detected?,
        Err(_) => Tls::TimedOut,
    };
    Ok((detected, buf.freeze()))
}

async fn read_tls(io: &mut (impl AsyncRead + Unpin), buf: &mut BytesMut) -> io::Result<Tls> {
    buf.reserve(512);
    while buf.len() < MAX_CLIENT_HELLO_BYTES {
        if io.read_buf(buf).await? == 0 {
            return Ok(Tls::None);
        }
        match tls::peek(buf) {
            ClientHello::Incomplete => {}
            ClientHello::NotTls => return Ok(Tls::None),
            ClientHello::Sni(name) => return Ok(Tls::Hello(name)),
        }
    }
    Ok(Tls::None)
}

#[cfg(test)]
mod tests {
    use super::{Detected, Http, judge_http};

    #[test]
    fn http_is_told_from_other_bytes() {
        let http1 = Some(Detected::Http(Http::Http1));
        let http2 = Some(Detected::Http(Http::Http2));
        assert_eq!(judge_http(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), http2);
        assert_eq!(judge_http(b"PRI * HTT"), None);
        assert_eq!(judge_http(b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n"), http1);
        assert_eq!(judge_http(b"GET /a/long/path"), http1);
        assert_eq!(judge_http(b"GET /"), None);
        assert_eq!(judge_http(b"GET / HTTP/1.1\r\nbad header\r\n\r\n"), http1);
        for line in [
            &b"GET / HTTP/1.1\rHost: a\r\n\r\n"[..],
            b"GET / HTTP/1.1 \r\n\r\n",
            b"GET / http/1.1\r\n\r\n",
            b"GET / HTTP/3.0\r\n\r\n",
        ] {
            assert_eq!(judge_http(line), http1, "{line:?}");
        }
        assert_eq!(
            judge_http(b"\x16\x03\x01\x02\x00\x01"),
            Some(Detected::Other)
        );
        assert_eq!(judge_http(b"+OK hello there\r\n"), Some(Detected::Other));
    }
}
