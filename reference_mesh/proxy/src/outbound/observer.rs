//! Following an outbound response to its end, and counting it.

use std::rc::Rc;
use std::time::Duration;

use ::http::{HeaderMap, StatusCode};
use tokio::time::Instant;

use super::endpoint::Endpoint;
use super::target::Used;
use crate::balance::Pending;
use crate::http::Observer as HttpObserver;
use crate::http::body::BodyError;
use crate::http::in_flight::InFlight;
use crate::telemetry::{BackendRequests, Outcome, RouteRequests, RouteStatus};

/// See the module.
pub(super) struct Observer {
    pub(super) in_flight: Option<InFlight>,
    /// Where the request named where it goes; else the connection keeps that.
    pub(super) named: Option<Used>,
    pub(super) route: Option<Rc<RouteRequests>>,
    pub(super) exchange: Option<Exchange>,
    pub(super) error: Option<&'static str>,
    pub(super) status: StatusCode,
    pub(super) grpc: Option<GrpcStatus>,
    pub(super) started: Instant,
    pub(super) ended: bool,
}

/// The part of a request that reached an endpoint.
pub(super) struct Exchange {
    pub(super) endpoint: Rc<Endpoint>,
    pub(super) backend: BackendRequests,
    pub(super) pending: Option<Pending>,
    /// The least latency to assume of the endpoint when it fails.
    pub(super) failed_rtt: Duration,
    pub(super) sent: Instant,
    /// Whether the head of a response came.
    pub(super) answered: bool,
}

/// `grpc-status`, from the headers or, later, the trailers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GrpcStatus(pub(crate) Option<u16>);

// === impl GrpcStatus ===

impl GrpcStatus {
    /// The status in `headers`, if it is there.
    pub(crate) fn read(headers: &HeaderMap) -> Option<u16> {
        headers.get("grpc-status")?.to_str().ok()?.parse().ok()
    }

    /// The outcome of a response with `status` and, at its end, `trailers`.
    pub(crate) fn outcome(
        grpc: Option<Self>,
        status: StatusCode,
        trailers: Option<&HeaderMap>,
        error: Option<&'static str>,
    ) -> Outcome {
        let status = status.as_u16();
        if let Some(error) = error {
            return Outcome::failed(Some(status), error);
        }
        match grpc.map(|grpc| grpc.0.or_else(|| Self::read(trailers?))) {
            Some(Some(code)) => Outcome::grpc(status, code),
            // gRPC without a status is unknown to its client, too.
            Some(None) => Outcome::grpc(status, 2),
            None => Outcome::http(status),
        }
    }
}

/// The `error` label of a body that broke off.
pub(crate) const fn body_error_label(error: &BodyError) -> &'static str {
    match error {
        BodyError::Reset(reason) => match *reason {
            h2::Reason::CANCEL => "CANCEL",
            h2::Reason::REFUSED_STREAM => "REFUSED",
            _ => "RESET",
        },
        BodyError::Io(_) | BodyError::Incomplete => "IO",
        BodyError::Timeout(_) => "RESPONSE_STREAM_TIMEOUT",
        BodyError::Malformed(_) => "UNKNOWN",
    }
}

// === impl Exchange ===

impl Exchange {
    /// Notes that the head of the response is there.
    pub(super) fn answered(&mut self) {
        self.answered = true;
        self.count_request();
    }

    /// Notes that what was answered, if anything was, did not come from the application.
    pub(super) fn failed(&mut self) {
        if let Some(pending) = &mut self.pending {
            pending.failed(self.failed_rtt);
        }
    }

    /// Counts the request, which is done once it is certain that no other connection will carry it.
    fn count_request(&self) {
        self.endpoint.requests.request();
        self.backend.requests.increment();
    }

    /// Counts the end of what was answered with `outcome`, or of what was not answered at all.
    fn ended(mut self, outcome: Outcome, latency: Duration) {
        let outcome = if self.answered {
            outcome
        } else {
            self.count_request();
            if let Some(pending) = &mut self.pending {
                pending.given_up();
            }
            Outcome::failed(None, outcome.error.unwrap_or("UNKNOWN"))
        };
        self.endpoint.requests.response(outcome, latency);
        let status = RouteStatus::of(outcome);
        self.backend.ended(status, self.sent.elapsed());
    }
}

// === impl Observer ===

impl Observer {
    pub(super) fn new(in_flight: Option<InFlight>, grpc: bool) -> Self {
        Self {
            in_flight,
            named: None,
            route: None,
            exchange: None,
            error: None,
            status: StatusCode::OK,
            grpc: grpc.then_some(GrpcStatus(None)),
            started: Instant::now(),
            ended: false,
        }
    }

    /// Notes that the proxy answers in an endpoint's place.
    pub(super) fn failed(&mut self, error: &'static str, status: StatusCode) {
        self.error = Some(error);
        self.status = status;
        if let Some(mut exchange) = self.exchange.take() {
            // What is the client's own fault tells nothing of the endpoint but that it was there.
            if status.is_server_error() {
                exchange.failed();
            }
            exchange.ended(Outcome::failed(None, error), self.started.elapsed());
        }
    }

    fn finish(&mut self, trailers: Option<&HeaderMap>, error: Option<&'static str>) {
        self.ended = true;
        self.in_flight = None;
        let error = error.or(self.error);
        let outcome = GrpcStatus::outcome(self.grpc, self.status, trailers, error);
        if let Some(exchange) = self.exchange.take() {
            exchange.ended(outcome, self.started.elapsed());
        }
        if let Some(route) = &self.route {
            let status = RouteStatus::of(outcome);
            route.ended(status, self.started.elapsed());
        }
    }
}

impl HttpObserver for Observer {
    fn data(&mut self, len: usize) {
        if let Some(exchange) = &mut self.exchange {
            exchange.pending = None;
            exchange.backend.frame_size.observe_bytes(len as u64);
        }
    }

    fn end(&mut self, trailers: Option<&HeaderMap>, error: Option<&BodyError>) {
        self.finish(trailers, error.map(body_error_label));
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        if !self.ended {
            self.finish(None, Some("CANCEL"));
        }
    }
}
