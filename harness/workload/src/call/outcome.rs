//! What became of a call.

use std::io::ErrorKind;

use serde::Serialize;
use tokio::time::Instant;

use super::messages::Flow;
use crate::clock::unix_ns;
use crate::http1::{Error, Fields, head};
use crate::seeded::Tally;

/// Part of a call that failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Waiting for a turn or a name.
    #[default]
    Resolve,
    /// Opening a connection.
    Connect,
    /// Sending and waiting for the response's head.
    Head,
    /// Reading the response's body.
    Body,
}

/// Why a call failed.
#[derive(Clone, Debug, Serialize)]
pub struct Failure {
    /// `dns`, `refused`, `unreachable`, `reset`, `eof`, `timeout`, `malformed`, `h2`, `goaway`,
    /// `cancelled`, `mismatch` or `io`.
    pub kind: &'static str,
    /// Where it failed.
    pub phase: Phase,
    /// The error in words.
    pub message: String,
    /// HTTP/2 error code.
    pub code: Option<u32>,
}

/// An informational response.
#[derive(Clone, Debug, Serialize)]
pub struct Interim {
    /// 100 to 199.
    pub status: u16,
    /// Its fields.
    pub headers: Fields,
}

/// Result of one call. Times are nanoseconds; `*_after_ns` count from `started_ns`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Outcome {
    /// Number of the call in its plan, from 0.
    pub n: u64,
    /// Request id.
    pub id: Option<String>,
    /// When the call was due, Unix nanoseconds.
    pub intended_ns: u64,
    /// When it was begun, Unix nanoseconds.
    pub started_ns: u64,
    /// When its connection was open; `None` when one was used again.
    pub connected_after_ns: Option<u64>,
    /// When the response's head, or the first byte, was there.
    pub head_after_ns: Option<u64>,
    /// When everything was over.
    pub ended_after_ns: u64,
    /// Number of the client's connection within the plan, from 1; 0 without one.
    pub connection: u64,
    /// Own address.
    pub local: Option<String>,
    /// Address that was dialled.
    pub peer: Option<String>,
    /// Protocol version of the response.
    pub version: Option<String>,
    /// Final status.
    pub status: Option<u16>,
    /// gRPC status.
    pub grpc_status: Option<u32>,
    /// gRPC message.
    pub grpc_message: Option<String>,
    /// Which pod answered, by its own word.
    pub pod: Option<String>,
    /// Which attempt was answered, by the application's word.
    pub attempt: Option<u32>,
    /// Response fields in order and case.
    pub headers: Fields,
    /// Trailer fields.
    pub trailers: Fields,
    /// Informational responses.
    pub interim: Vec<Interim>,
    /// Length of the response body.
    pub body_bytes: u64,
    /// SHA-256 of the response body.
    pub body_sha256: String,
    /// Start of the response body, as Latin-1.
    pub body_head: String,
    /// Length of what was sent as body or messages.
    pub sent_bytes: u64,
    /// SHA-256 of what was sent as body or messages.
    pub sent_sha256: String,
    /// Messages sent.
    pub messages_sent: u64,
    /// Messages that came back.
    pub messages_received: u64,
    /// Longest pause between two things received.
    pub longest_gap_ns: u64,
    /// How the server ended its half: `fin`, `reset`, or `None` while it was open.
    pub end: Option<&'static str>,
    /// Why it failed; `None` when it did not.
    pub error: Option<Failure>,
}

/// A call in progress: its outcome so far, and what flows.
#[derive(Default)]
pub struct Progress {
    /// The outcome so far.
    pub outcome: Outcome,
    /// Where the call is.
    pub phase: Phase,
    /// What was received.
    pub received: Tally,
    /// What was sent, and its echo.
    pub flow: Flow,
    kept: Vec<u8>,
    keep: usize,
    clock: Option<Instant>,
    last: Option<Instant>,
}

impl Progress {
    /// A call that begins now and keeps up to `keep` bytes of what it receives.
    pub fn begin(n: u64, id: Option<String>, intended_ns: u64, keep: usize) -> Self {
        Self {
            outcome: Outcome {
                n,
                id,
                intended_ns,
                started_ns: unix_ns(),
                ..Outcome::default()
            },
            keep,
            clock: Some(Instant::now()),
            ..Self::default()
        }
    }

    /// Nanoseconds since the call began.
    pub fn after_ns(&self) -> u64 {
        self.clock
            .map_or(0, |clock| clock.elapsed().as_nanos() as u64)
    }

    /// The head of the response, or its first byte, is there.
    pub fn head(&mut self) {
        self.outcome.head_after_ns = Some(self.after_ns());
        self.phase = Phase::Body;
        self.last = Some(Instant::now());
    }

    /// A piece of the response body.
    pub fn received(&mut self, piece: &[u8]) {
        self.received.add(piece);
        let room = self.keep.saturating_sub(self.kept.len());
        self.kept.extend_from_slice(&piece[..piece.len().min(room)]);
        let now = Instant::now();
        if let Some(last) = self.last.replace(now) {
            let gap = (now - last).as_nanos() as u64;
            self.outcome.longest_gap_ns = self.outcome.longest_gap_ns.max(gap);
        }
    }

    /// The fields of the response, and what the application says of itself in them.
    pub fn fields(&mut self, fields: Fields) {
        self.outcome.pod = head::first(&fields, "x-meshmark-pod").map(str::to_owned);
        self.outcome.attempt =
            head::first(&fields, "x-meshmark-attempt").and_then(|count| count.parse().ok());
        self.grpc(&fields);
        self.outcome.headers = fields;
    }

    /// The trailers of the response.
    pub fn trailers(&mut self, trailers: Fields) {
        self.grpc(&trailers);
        self.outcome.trailers = trailers;
    }

    fn grpc(&mut self, fields: &Fields) {
        if let Some(status) = head::first(fields, "grpc-status") {
            self.outcome.grpc_status = status.parse().ok();
            self.outcome.grpc_message = head::first(fields, "grpc-message").map(str::to_owned);
        }
    }

    /// The call failed.
    pub fn fail(&mut self, kind: &'static str, message: impl Into<String>) {
        let failure = Failure {
            kind,
            phase: self.phase,
            message: message.into(),
            code: None,
        };
        self.outcome.error = Some(failure);
    }

    /// The call failed with an HTTP/2 error.
    pub fn fail_h2(&mut self, error: &h2::Error) {
        let kind = match error {
            error if error.is_go_away() => "goaway",
            error if error.is_io() => error.get_io().map_or("io", |io| kind_of(io.kind())),
            _ => "h2",
        };
        let code = error.reason().map(u32::from);
        let failure = Failure {
            kind,
            phase: self.phase,
            message: error.to_string(),
            code,
        };
        self.outcome.error = Some(failure);
    }

    /// The call failed with an HTTP/1 or transport error.
    pub fn fail_h1(&mut self, error: &Error) {
        let kind = match error {
            Error::Closed | Error::Truncated(_) => "eof",
            Error::Malformed(_) | Error::TooLong(..) => "malformed",
            Error::Io(error) => kind_of(error.kind()),
        };
        self.outcome.end = match kind {
            "eof" => Some("fin"),
            "reset" => Some("reset"),
            _ => self.outcome.end,
        };
        self.fail(kind, error.to_string());
    }

    /// The outcome.
    pub fn end(mut self, brief: bool) -> Outcome {
        self.outcome.ended_after_ns = self.after_ns();
        self.outcome.body_bytes = self.received.bytes();
        self.outcome.body_sha256 = self.received.sha256();
        self.outcome.body_head = head::latin1(&self.kept);
        let sent = self.flow.sent();
        self.outcome.sent_bytes = sent.bytes();
        self.outcome.sent_sha256 = sent.sha256();
        (self.outcome.messages_sent, self.outcome.messages_received) = self.flow.messages();
        if brief {
            self.outcome.headers.clear();
            self.outcome.trailers.clear();
        }
        self.outcome
    }
}

/// Kind of an I/O error, as outcomes name it.
pub fn kind_of(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::ConnectionRefused => "refused",
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted => {
            "reset"
        }
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => "unreachable",
        ErrorKind::TimedOut => "timeout",
        ErrorKind::UnexpectedEof => "eof",
        _ => "io",
    }
}
