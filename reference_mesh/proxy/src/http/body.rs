//! Bodies: a few concrete kinds behind one enum, polled frame by frame.
//!
//! Back-pressure is by polling alone: nothing reads ahead of its consumer except what one read of
//! the socket brought, or what HTTP/2 windows allow.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use ::http::HeaderMap;
use bytes::Bytes;
use thiserror::Error;

use super::{h1, h2};
use crate::telemetry::Histogram;

/// A piece of a body.
#[derive(Debug)]
pub enum Frame {
    /// Bytes of the content; not empty.
    Data(Bytes),
    /// Trailers, the last frame.
    Trailers(HeaderMap),
}

/// How long a body is, as far as its framing tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// This many bytes.
    Known(u64),
    /// Until it ends.
    Unknown,
}

/// Why a body broke off. Cheap to clone.
#[derive(Clone, Debug, Error)]
pub enum BodyError {
    /// The peer reset the stream.
    #[error("stream reset: {0}")]
    Reset(::h2::Reason),
    /// The connection failed.
    #[error("connection failed: {0}")]
    Io(Arc<io::Error>),
    /// The connection ended before the body did.
    #[error("connection closed before the body was complete")]
    Incomplete,
    /// The framing is not HTTP.
    #[error("malformed body: {0}")]
    Malformed(&'static str),
    /// A time limit of the route passed.
    #[error("{0}")]
    Timeout(&'static str),
}

/// A request's or response's content.
#[derive(Debug, Default)]
pub enum Body {
    /// Nothing.
    #[default]
    Empty,
    /// One piece, made by the proxy.
    Full(Bytes),
    /// Read from an HTTP/1 connection.
    H1(h1::Incoming),
    /// Read from an HTTP/2 stream.
    H2(h2::Incoming),
    /// Another one, the sizes of whose pieces are counted.
    Counted(Box<(Self, Histogram)>),
}

// === impl Body ===

impl Body {
    /// The next piece; none at the end.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        match self {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Empty;
                Poll::Ready((!bytes.is_empty()).then_some(Ok(Frame::Data(bytes))))
            }
            Self::H1(incoming) => incoming.poll_frame(cx),
            Self::H2(incoming) => incoming.poll_frame(cx),
            Self::Counted(counted) => {
                let (body, sizes) = &mut **counted;
                let frame = ready!(body.poll_frame(cx));
                if let Some(Ok(Frame::Data(data))) = &frame {
                    sizes.observe_bytes(data.len() as u64);
                }
                Poll::Ready(frame)
            }
        }
    }

    /// Counts the sizes of its pieces; what has none costs nothing.
    #[must_use]
    pub fn counted(self, sizes: &Histogram) -> Self {
        if self.is_end() {
            self
        } else {
            Self::Counted(Box::new((self, sizes.clone())))
        }
    }

    /// Waits for the next piece.
    pub async fn frame(&mut self) -> Option<Result<Frame, BodyError>> {
        std::future::poll_fn(|cx| self.poll_frame(cx)).await
    }

    /// Whether nothing more will come, not even trailers.
    #[must_use]
    pub fn is_end(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(bytes) => bytes.is_empty(),
            Self::H1(incoming) => incoming.is_end(),
            Self::H2(incoming) => incoming.is_end(),
            Self::Counted(counted) => counted.0.is_end(),
        }
    }

    /// What the framing tells of the length.
    #[must_use]
    pub fn length(&self) -> Length {
        match self {
            Self::Empty => Length::Known(0),
            Self::Full(bytes) => Length::Known(bytes.len() as u64),
            Self::H1(incoming) => incoming.length(),
            Self::H2(incoming) if incoming.is_end() => Length::Known(0),
            Self::H2(_) => Length::Unknown,
            Self::Counted(counted) => counted.0.length(),
        }
    }
}

// === impl BodyError ===

impl From<io::Error> for BodyError {
    fn from(error: io::Error) -> Self {
        Self::Io(Arc::new(error))
    }
}

impl From<::h2::Error> for BodyError {
    fn from(error: ::h2::Error) -> Self {
        match error.reason() {
            Some(reason) => Self::Reset(reason),
            None => match error.into_io() {
                Some(error) => error.into(),
                None => Self::Incomplete,
            },
        }
    }
}

impl BodyError {
    /// The code with which an HTTP/2 stream is reset because of this.
    #[must_use]
    pub fn reset_reason(&self) -> ::h2::Reason {
        match self {
            Self::Reset(reason) => *reason,
            Self::Io(_) | Self::Incomplete | Self::Malformed(_) => ::h2::Reason::INTERNAL_ERROR,
            Self::Timeout(_) => ::h2::Reason::CANCEL,
        }
    }
}
