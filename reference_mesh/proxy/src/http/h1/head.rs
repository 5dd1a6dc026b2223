//! Parsing of message heads.

use ::http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING, UPGRADE};
use ::http::uri::Authority;
use ::http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version,
};
use bytes::{Bytes, BytesMut};
use thiserror::Error;

use crate::http::body::Length;
use crate::http::headers::strip_from_trailers;
use crate::mutants::{self, Mutant};

/// Largest head, in bytes. Browsers and servers in wide use stop between 8 and 64 KiB.
pub(super) const MAX_HEAD_BYTES: usize = 64 * 1024;

/// Most header lines of a head.
const MAX_HEADERS: usize = 128;

const BARE_LINE_FEED: Refusal = Refusal::bad("line ended by a bare LF");

/// Why a request is refused; the connection closes after the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{reason}")]
pub struct Refusal {
    /// Status to answer with.
    pub status: StatusCode,
    /// What is wrong.
    pub reason: &'static str,
}

/// A request's head and what its headers say of the connection.
#[derive(Debug)]
pub(super) struct RequestHead {
    pub(super) request: Request<()>,
    pub(super) length: Length,
    pub(super) keep_alive: bool,
    pub(super) expects_continue: bool,
}

/// A response's head and what its headers say of the connection.
#[derive(Debug)]
pub(super) struct ResponseHead {
    pub(super) response: Response<()>,
    pub(super) framing: ResponseFraming,
    pub(super) keep_alive: bool,
}

/// How a response's body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResponseFraming {
    Length(u64),
    Chunked,
    UntilClose,
}

impl Refusal {
    const fn bad(reason: &'static str) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            reason,
        }
    }
}

/// Takes a request head off the front of `buf`; none when it is not complete yet.
///
/// # Errors
/// [`Refusal`] when it is not a request that can be passed on without doubt.
pub(super) fn parse_request(buf: &mut BytesMut) -> Result<Option<RequestHead>, Refusal> {
    if buf.starts_with(b"\n") {
        return Err(BARE_LINE_FEED);
    }
    let mut lines = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut lines);
    let len = match parsed.parse(buf) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) if buf.len() < MAX_HEAD_BYTES => return Ok(None),
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            return Err(Refusal {
                status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                reason: "request head too large",
            });
        }
        Err(_) => return Err(Refusal::bad("malformed request head")),
    };
    if len > MAX_HEAD_BYTES {
        return Err(Refusal {
            status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            reason: "request head too large",
        });
    }
    if has_bare_line_feed(&buf[..len]) {
        return Err(BARE_LINE_FEED);
    }
    // `parse` returned `Complete`, so these three are set.
    let (Some(method), Some(path), Some(minor)) = (parsed.method, parsed.path, parsed.version)
    else {
        return Err(Refusal::bad("malformed request line"));
    };
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| Refusal::bad("bad method"))?;
    let target = span(buf, path.as_bytes());
    let spans = header_spans(buf, parsed.headers);
    let version = if minor == 0 {
        Version::HTTP_10
    } else {
        Version::HTTP_11
    };

    let head = buf.split_to(len).freeze();
    let mut request = Request::new(());
    *request.uri_mut() = parse_target(&method, head.slice(target.0..target.1))?;
    *request.method_mut() = method;
    *request.version_mut() = version;
    *request.headers_mut() = headers(&head, &spans).ok_or(Refusal::bad("malformed header"))?;
    finish_request(request).map(Some)
}

/// Judges the headers that frame the message.
fn finish_request(mut request: Request<()>) -> Result<RequestHead, Refusal> {
    judge_host(&mut request)?;
    let headers = request.headers();
    let version = request.version();
    let length = request_length(headers, version)?;
    let keep_alive = keeps_alive(headers, version);
    let expects_continue = version == Version::HTTP_11
        && headers
            .get(EXPECT)
            .is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    Ok(RequestHead {
        length,
        keep_alive,
        expects_continue,
        request,
    })
}

/// Holds the request to one name. A target that names a host does so in place of `Host` (RFC 9112
/// 3.2.2), so that nobody further on goes by another one; no `Host` at all is left to the server.
fn judge_host<B>(request: &mut Request<B>) -> Result<(), Refusal> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(Refusal::bad("more than one host"));
    }
    if let Some(host) = host
        && !host.is_empty()
        && !Authority::try_from(host.as_bytes()).is_ok_and(|host| is_host(&host))
    {
        return Err(Refusal::bad("malformed host"));
    }
    if request.method() == Method::CONNECT {
        return Ok(());
    }
    if let Some(authority) = request.uri().authority() {
        let value = HeaderValue::from_str(authority.as_str()).ok();
        let value = value
            .filter(|_| is_host(authority))
            .ok_or(Refusal::bad("bad request target"))?;
        request.headers_mut().insert(HOST, value);
    }
    Ok(())
}

/// Holds an HTTP/2 request that carries one of HTTP/1 to what is asked of those that come as such:
/// one name, and one length, as HTTP/2 lets equal ones pass. Of the rest HTTP/2 asks as much.
///
/// # Errors
/// [`Refusal`] when an application could read it otherwise than the policy did.
pub fn judge_carried<B>(request: &mut Request<B>) -> Result<(), Refusal> {
    pass_length_once(request.headers_mut());
    match request.uri().authority() {
        // It becomes the only `Host`.
        Some(authority) if is_host(authority) => Ok(()),
        Some(_) => Err(Refusal::bad("bad request target")),
        None => judge_host(request),
    }
}

/// Whether it is a host and a port alone.
fn is_host(authority: &Authority) -> bool {
    !authority.as_str().contains('@')
}

fn request_length(headers: &HeaderMap, version: Version) -> Result<Length, Refusal> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let length = lengths.next();
    if lengths.next().is_some() {
        return Err(Refusal::bad("more than one content-length"));
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else {
        return match length {
            None => Ok(Length::Known(0)),
            Some(value) => parse_length(value)
                .map(Length::Known)
                .ok_or(Refusal::bad("malformed content-length")),
        };
    };
    if version == Version::HTTP_10 {
        return Err(Refusal::bad("transfer-encoding in HTTP/1.0"));
    }
    if let Some(value) = length {
        if mutants::active(Mutant::LengthBesideCoding) {
            let length = parse_length(value).map(Length::Known);
            return length.ok_or(Refusal::bad("malformed content-length"));
        }
        return Err(Refusal::bad("content-length beside transfer-encoding"));
    }
    if codings.next().is_some() {
        return Err(Refusal::bad("more than one transfer-encoding"));
    }
    let coding = coding.as_bytes();
    if coding.eq_ignore_ascii_case(b"chunked") {
        return Ok(Length::Unknown);
    }
    if coding.to_ascii_lowercase().ends_with(b", chunked") {
        return Err(Refusal {
            status: StatusCode::NOT_IMPLEMENTED,
            reason: "transfer coding not supported",
        });
    }
    Err(Refusal::bad("transfer-encoding does not end in chunked"))
}

/// Takes a response head off the front of `buf`; none when it is not complete yet.
///
/// # Errors
/// What is wrong with it.
pub(super) fn parse_response(
    buf: &mut BytesMut,
    method: &Method,
) -> Result<Option<ResponseHead>, &'static str> {
    let mut lines = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Response::new(&mut lines);
    let len = match parsed.parse(buf) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) if buf.len() < MAX_HEAD_BYTES => return Ok(None),
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            return Err("response head too large");
        }
        Err(_) => return Err("malformed response head"),
    };
    let (Some(code), Some(minor)) = (parsed.code, parsed.version) else {
        return Err("malformed status line");
    };
    let spans = header_spans(buf, parsed.headers);
    let head = buf.split_to(len).freeze();
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(code).map_err(|_| "status out of range")?;
    *response.version_mut() = if minor == 0 {
        Version::HTTP_10
    } else {
        Version::HTTP_11
    };
    *response.headers_mut() = headers(&head, &spans).ok_or("malformed header")?;

    // The coding counts, and the length is not passed on (RFC 9112 6.3).
    let has_both = response.headers().contains_key(CONTENT_LENGTH)
        && response.headers().contains_key(TRANSFER_ENCODING);
    if has_both {
        response.headers_mut().remove(CONTENT_LENGTH);
    }
    let framing = response_framing(&response, method)?;
    pass_length_once(response.headers_mut());
    let keep_alive = framing != ResponseFraming::UntilClose
        && !has_both
        && keeps_alive(response.headers(), response.version());
    Ok(Some(ResponseHead {
        response,
        framing,
        keep_alive,
    }))
}

fn response_framing(
    response: &Response<()>,
    method: &Method,
) -> Result<ResponseFraming, &'static str> {
    let headers = response.headers();
    let length = content_length(headers)?;
    if !may_have_body(method, response.status()) {
        return Ok(ResponseFraming::Length(0));
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        if response.version() == Version::HTTP_10 {
            return Err("transfer-encoding in HTTP/1.0");
        }
        return if codings.next().is_none() && coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
            Ok(ResponseFraming::Chunked)
        } else {
            Err("transfer coding not supported")
        };
    }
    Ok(length.map_or(ResponseFraming::UntilClose, ResponseFraming::Length))
}

/// Of lengths that are equal, one is passed on.
fn pass_length_once(headers: &mut HeaderMap) {
    if headers.get_all(CONTENT_LENGTH).iter().nth(1).is_some()
        && let Some(length) = headers.get(CONTENT_LENGTH).cloned()
    {
        headers.insert(CONTENT_LENGTH, length);
    }
}

/// The one length that the header names, however often (RFC 9110 8.6).
fn content_length(headers: &HeaderMap) -> Result<Option<u64>, &'static str> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let Some(length) = lengths.next() else {
        return Ok(None);
    };
    let length = parse_length(length).ok_or("malformed content-length")?;
    if lengths.any(|other| parse_length(other) != Some(length)) {
        return Err("content-lengths differ");
    }
    Ok(Some(length))
}

/// Whether a response to `method` with `status` has content.
pub(super) fn may_have_body(method: &Method, status: StatusCode) -> bool {
    let tunnels = method == Method::CONNECT && status.is_success();
    let bodiless = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    method != Method::HEAD && !tunnels && !bodiless && !status.is_informational()
}

/// Whether the sender of `headers` keeps its connection open.
fn keeps_alive(headers: &HeaderMap, version: Version) -> bool {
    if version == Version::HTTP_10 {
        has_connection_option(headers, "keep-alive") && !has_connection_option(headers, "close")
    } else {
        !has_connection_option(headers, "close")
    }
}

/// Whether a request asks to leave HTTP/1 on this connection. One that offers `h2c` does not: what
/// followed would be requests that no policy has judged and no metric counts.
#[must_use]
pub fn is_upgrade<B>(request: &Request<B>) -> bool {
    request.method() == Method::CONNECT
        || (request.version() == Version::HTTP_11
            && request.headers().contains_key(UPGRADE)
            && has_connection_option(request.headers(), "upgrade")
            && !has_option(request.headers(), &UPGRADE, "h2c"))
}

pub(super) fn has_connection_option(headers: &HeaderMap, option: &str) -> bool {
    has_option(headers, &CONNECTION, option)
}

/// Whether a header that is a list has this element.
fn has_option(headers: &HeaderMap, name: &HeaderName, option: &str) -> bool {
    headers.get_all(name).iter().any(|value| {
        value
            .as_bytes()
            .split(|byte| *byte == b',')
            .any(|token| token.trim_ascii().eq_ignore_ascii_case(option.as_bytes()))
    })
}

/// A `Content-Length` of digits alone.
fn parse_length(value: &HeaderValue) -> Option<u64> {
    let text = value.as_bytes();
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn parse_target(method: &Method, target: Bytes) -> Result<Uri, Refusal> {
    if target.contains(&b'#') {
        return Err(Refusal::bad("fragment in request target"));
    }
    let starts_well = target.first() == Some(&b'/');
    let uri = Uri::from_maybe_shared(target).map_err(|_| Refusal::bad("bad request target"))?;
    let is_authority_form = uri.path().is_empty() && uri.scheme().is_none();
    let is_well_formed = if method == Method::CONNECT {
        is_authority_form && uri.authority().is_some()
    } else {
        starts_well || uri.scheme().is_some() || (uri.path() == "*" && method == Method::OPTIONS)
    };
    if is_well_formed {
        Ok(uri)
    } else {
        Err(Refusal::bad("bad request target"))
    }
}

/// A range of the buffer, by offsets that stay true when it is split off.
type Span = (usize, usize);

fn span(buf: &[u8], part: &[u8]) -> Span {
    let start = part.as_ptr() as usize - buf.as_ptr() as usize;
    (start, start + part.len())
}

fn header_spans(buf: &[u8], lines: &[httparse::Header<'_>]) -> Vec<(Span, Span)> {
    lines
        .iter()
        .map(|line| (span(buf, line.name.as_bytes()), span(buf, line.value)))
        .collect()
}

/// Builds the map; values share the memory of `head`.
fn headers(head: &Bytes, spans: &[(Span, Span)]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(spans.len());
    for &((name_start, name_end), (value_start, value_end)) in spans {
        let name = HeaderName::from_bytes(&head[name_start..name_end]).ok()?;
        let value = HeaderValue::from_maybe_shared(head.slice(value_start..value_end)).ok()?;
        headers.append(name, value);
    }
    Some(headers)
}

/// Trailers, from a block that ends in an empty line.
pub(super) fn parse_trailers(block: &Bytes) -> Option<HeaderMap> {
    let mut lines = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let Ok(httparse::Status::Complete((_, lines))) = httparse::parse_headers(block, &mut lines)
    else {
        return None;
    };
    if has_bare_line_feed(block) {
        return None;
    }
    let mut trailers = headers(block, &header_spans(block, lines))?;
    strip_from_trailers(&mut trailers);
    Some(trailers)
}

fn has_bare_line_feed(head: &[u8]) -> bool {
    let mut previous = 0;
    for &byte in head {
        if byte == b'\n' && previous != b'\r' {
            return true;
        }
        previous = byte;
    }
    false
}

#[cfg(test)]
mod properties;

#[cfg(test)]
mod tests {
    use super::{
        RequestHead, ResponseFraming, is_upgrade, parse_request, parse_response, parse_trailers,
    };
    use crate::http::body::Length;
    use ::http::header::{CONTENT_LENGTH, HOST};
    use ::http::{Method, StatusCode};
    use bytes::BytesMut;

    fn status_of(head: &str) -> Option<StatusCode> {
        parse_request(&mut BytesMut::from(head))
            .err()
            .map(|refusal| refusal.status)
    }

    #[test]
    fn a_request_is_taken_whole_and_the_rest_left() {
        let mut buf =
            BytesMut::from("POST /a?b HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabcGET");
        let head = parse_request(&mut buf).expect("valid").expect("complete");
        assert_eq!(head.request.uri(), "/a?b");
        assert_eq!(head.length, Length::Known(3));
        assert!(head.keep_alive);
        assert_eq!(&buf[..], b"abcGET");
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        let bad = Some(StatusCode::BAD_REQUEST);
        for head in [
            "POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: +3\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 3, 3\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked, identity\r\n\r\n",
            "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET / HTTP/1.1\nHost: h\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\nX: y\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            "GET /#f HTTP/1.1\r\n\r\n",
            "GET a HTTP/1.1\r\n\r\n",
            "GET / HTTP/2.0\r\n\r\n",
            "CONNECT / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: user@a\r\n\r\n",
            "GET http://user@a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        ] {
            assert_eq!(status_of(head), bad, "{head:?}");
        }
    }

    fn parsed(text: &str) -> RequestHead {
        parse_request(&mut BytesMut::from(text))
            .expect("valid")
            .expect("complete")
    }

    #[test]
    fn a_target_that_names_a_host_replaces_the_header() {
        for host in ["Host: other\r\n", "Host:\r\n", ""] {
            let head = parsed(&format!("GET http://a:80/ HTTP/1.1\r\n{host}\r\n"));
            assert_eq!(head.request.headers()[HOST], "a:80", "{host:?}");
        }
        let head = parsed("GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n");
        assert_eq!(head.request.headers()[HOST], "[::1]:80");
    }

    #[test]
    fn an_upgrade_to_http_2_is_none() {
        let asks = |protocol: &str| {
            let text =
                format!("GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\r\n");
            is_upgrade(&parsed(&text).request)
        };
        assert!(asks("websocket"));
        for protocol in ["h2c", "H2C", "websocket, h2c"] {
            assert!(!asks(protocol), "{protocol}");
        }
    }

    #[test]
    fn trailers_frame_and_name_nothing() {
        let block = "Content-Length: 5\r\nTransfer-Encoding: x\r\nHost: b\r\n\
                     l5d-client-id: forged\r\nX-Sum: 1\r\n\r\n";
        let trailers = parse_trailers(&block.into()).expect("valid");
        assert_eq!(trailers.len(), 1);
        assert_eq!(trailers["x-sum"], "1");
    }

    #[test]
    fn large_heads_are_refused() {
        let long = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(70_000));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(200));
        for head in [long, many] {
            assert_eq!(
                status_of(&head),
                Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)
            );
        }
    }

    #[test]
    fn responses_end_as_their_headers_say() {
        let framing = |text: &str, method: Method| {
            let mut buf = BytesMut::from(text);
            let head = parse_response(&mut buf, &method)
                .expect("valid")
                .expect("complete");
            (head.framing, head.keep_alive)
        };
        let get = Method::GET;
        let length = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        assert_eq!(
            framing(length, get.clone()),
            (ResponseFraming::Length(5), true)
        );
        assert_eq!(
            framing(length, Method::HEAD),
            (ResponseFraming::Length(0), true)
        );
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n";
        assert_eq!(
            framing(chunked, get.clone()),
            (ResponseFraming::Chunked, false)
        );
        let until_close = "HTTP/1.0 200 OK\r\n\r\n";
        assert_eq!(
            framing(until_close, get.clone()),
            (ResponseFraming::UntilClose, false)
        );
        let empty = "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
        assert_eq!(framing(empty, get), (ResponseFraming::Length(0), false));
    }

    #[test]
    fn a_length_is_passed_on_once() {
        let both = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n";
        let head = parse_response(&mut BytesMut::from(both), &Method::GET);
        let response = head.expect("valid").expect("complete").response;
        assert_eq!(response.headers().get_all(CONTENT_LENGTH).iter().count(), 1);
    }

    #[test]
    fn responses_of_no_certain_end_are_refused() {
        for head in [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        ] {
            let parsed = parse_response(&mut BytesMut::from(head), &Method::GET);
            assert!(parsed.is_err(), "{head:?}");
        }
        // What a client would take for the length of the content counts without content too.
        let differ = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n";
        assert!(parse_response(&mut BytesMut::from(differ), &Method::HEAD).is_err());
    }
}
