//! Response bodies that are counted when they end.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::Instant;

use super::replicas::Place;
use crate::telemetry::{ControlClient, Outcome};

/// The body of a response from the control plane.
#[derive(Debug)]
pub struct CountedBody {
    inner: Incoming,
    call: Option<Call>,
}

/// A call under way.
#[derive(Debug)]
pub(super) struct Call {
    metrics: ControlClient,
    started: Instant,
    status: Option<u16>,
    _place: Place,
}

// === impl Call ===

impl Call {
    pub(super) fn start(metrics: &ControlClient, place: Place) -> Self {
        metrics.request();
        Self {
            metrics: metrics.clone(),
            started: Instant::now(),
            status: None,
            _place: place,
        }
    }

    pub(super) fn failed(self, error: &'static str) {
        self.end(Outcome::failed(self.status, error));
    }

    fn end(&self, outcome: Outcome) {
        self.metrics.response(outcome, self.started.elapsed());
    }

    fn trailers(&self, trailers: &http::HeaderMap) {
        let status = self.status.unwrap_or_default();
        let code = trailers
            .get("grpc-status")
            .and_then(|code| code.to_str().ok()?.parse().ok());
        self.end(code.map_or(Outcome::http(status), |code| Outcome::grpc(status, code)));
    }
}

// === impl CountedBody ===

impl CountedBody {
    /// Counts `call` when the body of `response` ends, or now, if all is in the head.
    pub(super) fn wrap(response: http::Response<Incoming>, mut call: Call) -> http::Response<Self> {
        call.status = Some(response.status().as_u16());
        let call = if response.headers().contains_key("grpc-status") {
            call.trailers(response.headers());
            None
        } else {
            Some(call)
        };
        response.map(|inner| Self { inner, call })
    }
}

impl Body for CountedBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_ref()
                    && let Some(call) = self.call.take()
                {
                    call.trailers(trailers);
                }
            }
            Some(Err(_)) => {
                if let Some(call) = self.call.take() {
                    call.failed("reset");
                }
            }
            None => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for CountedBody {
    fn drop(&mut self) {
        if let Some(call) = self.call.take() {
            call.failed("cancelled");
        }
    }
}
