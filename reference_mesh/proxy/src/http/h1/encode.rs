//! Writing messages anew from their parsed form.

use std::io::Write as _;

use ::http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use ::http::{HeaderMap, Method, Request, Response, Version};
use bytes::{BufMut as _, BytesMut};

use super::conn::Out;
use super::head::may_have_body;
use crate::http::body::{Body, BodyError, Frame, Length};
use crate::mutants::{self, Mutant};

/// Frames one outgoing body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Encoder {
    /// This many bytes are still owed.
    Length(u64),
    /// Chunked.
    Chunked,
    /// The end of the connection ends it.
    UntilClose,
    /// The message has no content, whatever its body yields.
    None,
}

// === impl Encoder ===

impl Encoder {
    /// Adds a frame; only while `out` has room.
    ///
    /// # Errors
    /// When there is more than the head announced.
    pub(super) fn frame(&mut self, frame: Frame, out: &mut Out) -> Result<(), BodyError> {
        match (self, frame) {
            (Self::Length(left), Frame::Data(data)) => {
                let len = data.len() as u64;
                *left = left
                    .checked_sub(len)
                    .ok_or(BodyError::Malformed("body longer than its content-length"))?;
                out.push_data(data, b"");
            }
            (Self::UntilClose, Frame::Data(data)) => out.push_data(data, b""),
            (Self::Chunked, Frame::Data(data)) => {
                let _ = write!(out.head().writer(), "{:x}\r\n", data.len());
                out.push_data(data, b"\r\n");
            }
            (encoder @ Self::Chunked, Frame::Trailers(trailers)) => {
                if !mutants::active(Mutant::TrailersDropped) {
                    out.push(b"0\r\n");
                    write_headers(out.head(), &trailers);
                    out.push(b"\r\n");
                    *encoder = Self::None;
                }
            }
            (Self::None, _) | (Self::Length(_) | Self::UntilClose, Frame::Trailers(_)) => {}
        }
        Ok(())
    }

    /// Ends the body.
    ///
    /// # Errors
    /// When it is shorter than the head announced.
    pub(super) fn finish(&mut self, out: &mut Out) -> Result<(), BodyError> {
        match self {
            Self::Length(0) | Self::UntilClose | Self::None => Ok(()),
            Self::Length(_) => Err(BodyError::Incomplete),
            Self::Chunked => {
                out.push(b"0\r\n\r\n");
                Ok(())
            }
        }
    }
}

/// Writes a response's head for a client that asked with `method` and speaks `version`.
pub(super) fn response(
    response: &Response<Body>,
    method: &Method,
    version: Version,
    keep_alive: bool,
    out: &mut BytesMut,
) -> Encoder {
    let headers = response.headers();
    let status = response.status();
    let is_tunnel = status == ::http::StatusCode::SWITCHING_PROTOCOLS;
    let mut encoder = response_encoder(response, method, version);
    if mutants::active(Mutant::HeadWithBody) && *method == Method::HEAD {
        encoder = Encoder::Chunked;
    }
    if mutants::active(Mutant::ChunkedToHttp10) && encoder == Encoder::UntilClose {
        encoder = Encoder::Chunked;
    }
    let closes = !keep_alive || encoder == Encoder::UntilClose;

    out.reserve(head_size(headers));
    out.put_slice(if version == Version::HTTP_10 {
        b"HTTP/1.0 "
    } else {
        b"HTTP/1.1 "
    });
    out.put_slice(status.as_str().as_bytes());
    out.put_u8(b' ');
    out.put_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.put_slice(b"\r\n");
    write_headers(out, headers);
    if !headers.contains_key(CONTENT_LENGTH) {
        write_framing(&encoder, out);
    }
    if !is_tunnel && !headers.contains_key(CONNECTION) {
        if closes && version == Version::HTTP_11 {
            out.put_slice(b"connection: close\r\n");
        } else if !closes && version == Version::HTTP_10 {
            out.put_slice(b"connection: keep-alive\r\n");
        }
    }
    out.put_slice(b"\r\n");
    encoder
}

fn response_encoder(response: &Response<Body>, method: &Method, version: Version) -> Encoder {
    if !may_have_body(method, response.status()) {
        return Encoder::None;
    }
    match announced(response.headers(), response.body()) {
        Length::Known(len) => Encoder::Length(len),
        Length::Unknown if version == Version::HTTP_10 => Encoder::UntilClose,
        Length::Unknown => Encoder::Chunked,
    }
}

/// Writes an informational response's head.
pub(super) fn informational(response: &Response<()>, out: &mut BytesMut) {
    let status = response.status();
    out.put_slice(b"HTTP/1.1 ");
    out.put_slice(status.as_str().as_bytes());
    out.put_u8(b' ');
    out.put_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.put_slice(b"\r\n");
    write_headers(out, response.headers());
    out.put_slice(b"\r\n");
}

/// Writes a request's head. One of HTTP/1.0 whose length nobody knows goes out as HTTP/1.1, which
/// alone has chunks (RFC 9112 6.1).
pub(super) fn request(request: &Request<Body>, out: &mut BytesMut) -> Encoder {
    let headers = request.headers();
    let encoder = match announced(headers, request.body()) {
        Length::Known(len) => Encoder::Length(len),
        Length::Unknown => Encoder::Chunked,
    };
    out.reserve(head_size(headers) + request.uri().path().len());
    out.put_slice(request.method().as_str().as_bytes());
    out.put_u8(b' ');
    write_target(request, out);
    let is_old = request.version() == Version::HTTP_10 && encoder != Encoder::Chunked;
    out.put_slice(if is_old {
        b" HTTP/1.0\r\n"
    } else {
        b" HTTP/1.1\r\n"
    });
    write_headers(out, headers);
    if !headers.contains_key(CONTENT_LENGTH) && encoder != Encoder::Length(0) {
        write_framing(&encoder, out);
    }
    out.put_slice(b"\r\n");
    encoder
}

fn write_target(request: &Request<Body>, out: &mut BytesMut) {
    let uri = request.uri();
    if request.method() == Method::CONNECT {
        out.put_slice(
            uri.authority()
                .map_or("", |authority| authority.as_str())
                .as_bytes(),
        );
    } else if uri.scheme().is_some() {
        let _ = write!(out.writer(), "{uri}");
    } else {
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        out.put_slice(target.as_bytes());
    }
}

fn announced(headers: &HeaderMap, body: &Body) -> Length {
    match headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok())
    {
        Some(len) => Length::Known(len),
        None => body.length(),
    }
}

fn write_framing(encoder: &Encoder, out: &mut BytesMut) {
    match encoder {
        Encoder::Length(len) => {
            let _ = write!(out.writer(), "content-length: {len}\r\n");
        }
        Encoder::Chunked => out.put_slice(b"transfer-encoding: chunked\r\n"),
        Encoder::UntilClose | Encoder::None => {}
    }
}

fn write_headers(out: &mut BytesMut, headers: &HeaderMap) {
    for (name, value) in headers {
        if name == TRANSFER_ENCODING {
            continue;
        }
        out.put_slice(name.as_str().as_bytes());
        out.put_slice(b": ");
        out.put_slice(value.as_bytes());
        out.put_slice(b"\r\n");
    }
}

/// About how much a head needs, so that it is written without growing.
fn head_size(headers: &HeaderMap) -> usize {
    headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum::<usize>()
        + 128
}
