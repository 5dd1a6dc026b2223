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

/// What bytes are taken for that may become a request, when there is no more time or room to look:
/// the HTTP server waits for the rest, and refuses it. As bytes, they would get past all that judges
/// requests.
const UNDECIDED: Detected = Detected::Http(Http::Http1);

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
        Err(_) if buf.is_empty() => Detected::TimedOut,
        Err(_) => UNDECIDED,
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
    Ok(UNDECIDED)
}

/// What the bytes are, once there are enough of them; none while they may become HTTP.
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
        // The HTTP server refuses it.
        Err(_) if names_http(first_line(bytes)) => Some(Detected::Http(Http::Http1)),
        Err(_) if may_name_http(first_line(bytes)) => None,
        Err(_) => Some(Detected::Other),
    }
}

/// The first line that is not empty, with its end if that is there.
fn first_line(bytes: &[u8]) -> &[u8] {
    let lines = after_space(bytes).split_inclusive(|byte| *byte == b'\n');
    { lines }.next().unwrap_or_default()
}

/// Whether the line names HTTP, in whatever way: an application that is less strict than this proxy
/// must not get as bytes what nobody has judged as a request.
fn names_http(line: &[u8]) -> bool {
    line.windows(b" HTTP/".len())
        .any(|window| is_space(window[0]) && window[1..].eq_ignore_ascii_case(b"HTTP/"))
}

/// Whether the line is text that has not ended, and begins as requests do: with a word and, however
/// far from it, what may be a path or a URL.
fn may_name_http(line: &[u8]) -> bool {
    let method = line.iter().take_while(|byte| is_token(**byte)).count();
    let is_apart = line.get(method).is_none_or(|byte| is_space(*byte));
    let rest = after_space(&line[method..]);
    let scheme = &rest[..rest.len().min(b"http".len())];
    let is_target = matches!(rest.first(), Some(b'/' | b'*'))
        || b"http"[..scheme.len()].eq_ignore_ascii_case(scheme);
    let is_text = |byte: &u8| *byte != b'\n' && (!byte.is_ascii_control() || is_space(*byte));
    is_apart && is_target && line.iter().all(is_text)
}

fn after_space(bytes: &[u8]) -> &[u8] {
    let spaces = bytes.iter().take_while(|byte| is_space(**byte)).count();
    &bytes[spaces..]
}

/// What some take for a space.
const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// What methods are made of (RFC 9110 5.6.2).
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.')
        || matches!(byte, b'^'..=b'`' | b'|' | b'~')
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
    /// The end.
    Closed,
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
            return Ok(if buf.is_empty() {
                Tls::Closed
            } else {
                Tls::None
            });
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
    use super::{Detected, Http, http, judge_http};
    use crate::transport::Io;
    use std::time::Duration;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::Instant;

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
            b"GET\t/x\tHTTP/1.1\r\n\r\n",
            b"GET /x\x0bHTTP/1.1\r\n\r\n",
            b"\r\n GET\t/x\tHTTP/1.1\r\n\r\n",
        ] {
            assert_eq!(judge_http(line), http1, "{line:?}");
        }
        assert_eq!(
            judge_http(b"\x16\x03\x01\x02\x00\x01"),
            Some(Detected::Other)
        );
        assert_eq!(judge_http(b"+OK hello there\r\n"), Some(Detected::Other));
    }

    #[test]
    fn a_malformed_request_line_is_waited_for() {
        for line in [
            &b"GET\t/x"[..],
            b"GET\t",
            b" ",
            b"\r\nGET \t/x",
            b" GET /x",
            b"GET /a b",
            b"get\x0bHttp://x/\xff",
            b"GET * \r",
        ] {
            assert_eq!(judge_http(line), None, "{line:?}");
        }
    }

    #[test]
    fn what_cannot_be_a_request_is_known_at_once() {
        for bytes in [
            &b"GET\t/x\n"[..],
            b"GET\t/\x00",
            b"PING\r\n",
            b"*1\r\n$4\r\nPING\r\n",
            b"\x00\x00\x00\x08\x04\xd2\x16\x2f",
            b"AMQP\x00\x00\x09\x01",
            b"<stream:stream to='a'>",
            b"{\"jsonrpc\":",
            b"LOGIN me secret",
            b"JOIN\t#room",
        ] {
            assert_eq!(judge_http(bytes), Some(Detected::Other), "{bytes:?}");
        }
    }

    /// What is found when a client sends these bytes and then nothing, and after how long.
    async fn after_a_pause(bytes: &[u8]) -> (Detected, Duration) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let addr = listener.local_addr().expect("bound");
        let mut client = TcpStream::connect(addr).await.expect("connected");
        client.write_all(bytes).await.expect("sent");
        let (server, _) = listener.accept().await.expect("accepted");
        let started = Instant::now();
        let (detected, _) = http(Io::plain(server), TIMEOUT).await.expect("open");
        (detected, started.elapsed())
    }

    const TIMEOUT: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn a_pause_makes_no_request_opaque() {
        for bytes in [&b"GET /adm"[..], b"G", b"PRI * HTT", b"GET\t/adm"] {
            let (detected, waited) = after_a_pause(bytes).await;
            assert_eq!(detected, Detected::Http(Http::Http1), "{bytes:?}");
            assert!(waited >= TIMEOUT, "{bytes:?}: {waited:?}");
        }
        let (detected, waited) = after_a_pause(b"").await;
        assert_eq!(detected, Detected::TimedOut);
        assert!(waited >= TIMEOUT, "{waited:?}");
        let (detected, _) = after_a_pause(b"PING\r\n").await;
        assert_eq!(detected, Detected::Other);
    }
}
