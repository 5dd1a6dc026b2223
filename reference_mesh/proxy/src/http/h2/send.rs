//! Writing a body to a stream.

use std::task::{Context, Poll, ready};

use ::http::{HeaderMap, HeaderName};
use bytes::Bytes;
use h2::SendStream;

use crate::http::body::{Body, BodyError, Frame};
use crate::mutants::{self, Mutant};

/// A body on its way out.
pub(super) struct Sending {
    body: Body,
    stream: SendStream<Bytes>,
    sent: u64,
    is_broken: bool,
}

// === impl Sending ===

impl Sending {
    pub(super) fn new(body: Body, stream: SendStream<Bytes>) -> Self {
        Self {
            body,
            stream,
            sent: 0,
            is_broken: false,
        }
    }

    /// Whether the body itself turned out malformed or not whole; a stream that ended under it, or
    /// a sender that gave up, is something else.
    pub(super) const fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Writes the body to its end; the stream is reset when the body breaks off.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        on_frame: &mut impl FnMut(&Frame),
    ) -> Poll<Result<(), BodyError>> {
        let result = ready!(self.poll_frames(cx, on_frame));
        if let Err(error) = &result {
            self.stream.send_reset(error.reset_reason());
        }
        Poll::Ready(result)
    }

    fn poll_frames(
        &mut self,
        cx: &mut Context<'_>,
        on_frame: &mut impl FnMut(&Frame),
    ) -> Poll<Result<(), BodyError>> {
        loop {
            ready!(self.poll_capacity(cx))?;
            if let Poll::Ready(reason) = self.stream.poll_reset(cx) {
                return Poll::Ready(Err(reason.map_or_else(Into::into, BodyError::Reset)));
            }
            let Some(frame) = ready!(self.body.poll_frame(cx)) else {
                self.stream.send_data(Bytes::new(), true)?;
                return Poll::Ready(Ok(()));
            };
            let frame = frame.inspect_err(|error| {
                self.is_broken = matches!(error, BodyError::Malformed(_) | BodyError::Incomplete);
            })?;
            on_frame(&frame);
            match frame {
                Frame::Data(data) => {
                    self.sent += data.len() as u64;
                    let cut = mutants::active(Mutant::BodyTruncated) && self.sent > 1 << 20;
                    let ends = cut || self.body.is_end();
                    self.stream.send_data(data, ends)?;
                    if ends {
                        return Poll::Ready(Ok(()));
                    }
                }
                Frame::Trailers(mut trailers) => {
                    if mutants::active(Mutant::TrailersDropped) {
                        trailers = only_status(&trailers);
                    }
                    if trailers.is_empty() {
                        self.stream.send_data(Bytes::new(), true)?;
                    } else {
                        self.stream.send_trailers(trailers)?;
                    }
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }

    /// Waits until the peer takes more, or the stream ends. One byte is asked for: a piece of a body
    /// is then buffered whole, and the next one waits.
    fn poll_capacity(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        self.stream.reserve_capacity(1);
        while self.stream.capacity() == 0 {
            match ready!(self.stream.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(error.into())),
                // An ended stream has no capacity; what ended it is for `poll_reset` to say.
                None => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// The part of a call's trailers without which it has not ended, for [`Mutant::TrailersDropped`].
fn only_status(trailers: &HeaderMap) -> HeaderMap {
    let is_status = |name: &HeaderName| matches!(name.as_str(), "grpc-status" | "grpc-message");
    trailers
        .iter()
        .filter(|(name, _)| is_status(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}
