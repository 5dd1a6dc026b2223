//! What arrived: one record for each attempt, kept within a fixed amount of memory.

use std::collections::{HashMap, VecDeque};

use parking_lot::Mutex;
use serde::Serialize;

use crate::http1::Fields;

/// Memory for records. About 100,000 plain requests; older records are dropped and counted.
pub const LEDGER_BYTES: usize = 64 << 20;

/// Fields kept in a record; the hash covers all of them.
pub const FIELDS_KEPT: usize = 256;

/// Request ids whose attempts are counted. The oldest id is forgotten for a new one, so a request
/// would have to be retried after 65,536 others to be taken for a first attempt.
const IDS_REMEMBERED: usize = 65_536;

/// How an attempt ended, as the application saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Everything that was asked for was sent.
    Complete,
    /// The application cut it off because it was told to.
    Steered,
    /// The request cannot be read as HTTP.
    Malformed,
    /// The peer closed, reset or cancelled before the end.
    Abandoned,
    /// The application ended first.
    Aborted,
}

/// One attempt.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// Order of completion; what `since` refers to.
    pub seq: u64,
    /// Value of `x-meshmark-id`.
    pub id: Option<String>,
    /// How often this id arrived, this time included; 1 without an id.
    pub attempt: u32,
    /// Port of the application.
    pub port: u16,
    /// `HTTP/1.0`, `HTTP/1.1`, `HTTP/2.0` or `tcp`.
    pub protocol: &'static str,
    /// Request method; empty for TCP.
    pub method: String,
    /// Request target as received; for HTTP/2 the path.
    pub target: String,
    /// `Host` or `:authority`.
    pub authority: Option<String>,
    /// Scheme, where the protocol carries one.
    pub scheme: Option<String>,
    /// The first [`FIELDS_KEPT`] fields in order, names in the case received.
    pub headers: Fields,
    /// Fields received.
    pub header_count: usize,
    /// SHA-256 over all fields, each as `name: value\n`.
    pub headers_sha256: String,
    /// Trailer fields of the request.
    pub trailers: Fields,
    /// Number of the connection within this process.
    pub connection: u64,
    /// Place among the requests of that connection, from 1.
    pub nth_on_connection: u64,
    /// Peer address as the application's socket shows it.
    pub peer: String,
    /// Address that the peer dialled, as the application's socket shows it.
    pub local: String,
    /// Arrival of the complete head, Unix nanoseconds.
    pub arrived_ns: u64,
    /// When the response's head was written.
    pub responded_ns: Option<u64>,
    /// When the attempt ended.
    pub finished_ns: u64,
    /// Length of the request body, as far as it was read.
    pub body_bytes: u64,
    /// SHA-256 of the request body, as far as it was read.
    pub body_sha256: String,
    /// Final status.
    pub status: Option<u16>,
    /// Length of the response body, as far as it was sent.
    pub sent_bytes: u64,
    /// SHA-256 of the response body, as far as it was sent.
    pub sent_sha256: String,
    /// How it ended.
    pub outcome: Outcome,
    /// What was wrong, or empty.
    pub note: String,
}

/// First line of a ledger as it is fetched.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Changes when the process restarts, which empties the ledger.
    pub boot: String,
    /// Name of the pod.
    pub pod: String,
    /// Records dropped for want of memory since the last reset.
    pub dropped: u64,
    /// Sequence number of the last record.
    pub last: u64,
    /// Attempts that arrived since the last reset.
    pub arrived: u64,
    /// Attempts in progress.
    pub in_progress: u64,
    /// Most attempts in progress at once since the last reset.
    pub in_progress_high: u64,
}

/// Records in memory.
#[derive(Debug)]
pub struct Ledger {
    limit_bytes: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<(u64, Box<str>)>,
    held_bytes: usize,
    last: u64,
    dropped: u64,
    arrived: u64,
    in_progress: u64,
    in_progress_high: u64,
    attempts: HashMap<String, u32>,
    order: VecDeque<String>,
}

impl Ledger {
    /// An empty ledger that keeps up to `limit_bytes` of records.
    pub fn new(limit_bytes: usize) -> Self {
        Self {
            limit_bytes,
            state: Mutex::default(),
        }
    }

    /// Notes an arrival; gives back which attempt of `id` it is.
    pub fn arrive(&self, id: Option<&str>) -> u32 {
        let mut state = self.state.lock();
        state.arrived += 1;
        state.in_progress += 1;
        state.in_progress_high = state.in_progress_high.max(state.in_progress);
        let Some(id) = id else { return 1 };
        if let Some(count) = state.attempts.get_mut(id) {
            *count += 1;
            return *count;
        }
        if state.order.len() == IDS_REMEMBERED
            && let Some(oldest) = state.order.pop_front()
        {
            state.attempts.remove(&oldest);
        }
        state.order.push_back(id.to_owned());
        state.attempts.insert(id.to_owned(), 1);
        1
    }

    /// Files the record of an attempt that arrived before.
    pub fn finish(&self, mut record: Record) {
        let mut state = self.state.lock();
        state.in_progress -= 1;
        state.last += 1;
        record.seq = state.last;
        // A record has no map with keys that are not strings, nor a failing serializer.
        let line = serde_json::to_string(&record)
            .unwrap_or_default()
            .into_boxed_str();
        state.held_bytes += line.len();
        state.lines.push_back((record.seq, line));
        while state.held_bytes > self.limit_bytes {
            let Some((_, line)) = state.lines.pop_front() else {
                break;
            };
            state.held_bytes -= line.len();
            state.dropped += 1;
        }
    }

    /// The counts, and up to `limit` records after number `since` as JSON.
    pub fn read(&self, since: u64, limit: usize) -> (Counts, Vec<Box<str>>) {
        let state = self.state.lock();
        let from = state.lines.partition_point(|(seq, _)| *seq <= since);
        let lines = state
            .lines
            .iter()
            .skip(from)
            .take(limit)
            .map(|(_, line)| line.clone());
        (state.counts(), lines.collect())
    }

    /// Forgets all records and ids; sequence numbers go on.
    pub fn reset(&self) {
        let mut state = self.state.lock();
        *state = State {
            last: state.last,
            in_progress: state.in_progress,
            in_progress_high: state.in_progress,
            ..State::default()
        };
    }
}

/// The numbers of a ledger.
#[derive(Clone, Copy, Debug)]
pub struct Counts {
    /// See [`Summary`].
    pub last: u64,
    /// See [`Summary`].
    pub dropped: u64,
    /// See [`Summary`].
    pub arrived: u64,
    /// See [`Summary`].
    pub in_progress: u64,
    /// See [`Summary`].
    pub in_progress_high: u64,
}

impl State {
    fn counts(&self) -> Counts {
        Counts {
            last: self.last,
            dropped: self.dropped,
            arrived: self.arrived,
            in_progress: self.in_progress,
            in_progress_high: self.in_progress_high,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            seq: 0,
            id: None,
            attempt: 1,
            port: 1,
            protocol: "tcp",
            method: String::new(),
            target: String::new(),
            authority: None,
            scheme: None,
            headers: Fields::new(),
            header_count: 0,
            headers_sha256: String::new(),
            trailers: Fields::new(),
            connection: 1,
            nth_on_connection: 1,
            peer: String::new(),
            local: String::new(),
            arrived_ns: 0,
            responded_ns: None,
            finished_ns: 0,
            body_bytes: 0,
            body_sha256: String::new(),
            status: None,
            sent_bytes: 0,
            sent_sha256: String::new(),
            outcome: Outcome::Complete,
            note: String::new(),
        }
    }

    #[test]
    fn memory_is_bounded_and_the_loss_is_counted() {
        let ledger = Ledger::new(2000);
        for _ in 0..100 {
            ledger.arrive(None);
            ledger.finish(record());
        }
        let (counts, lines) = ledger.read(0, usize::MAX);
        assert_eq!(counts.last, 100);
        assert_eq!(counts.dropped + lines.len() as u64, 100);
        assert!(lines.iter().map(|line| line.len()).sum::<usize>() <= 2000);
        assert!(!lines.is_empty());
    }

    #[test]
    fn attempts_are_counted_per_id() {
        let ledger = Ledger::new(LEDGER_BYTES);
        assert_eq!(
            [Some("a"), Some("a"), Some("b"), None].map(|id| ledger.arrive(id)),
            [1, 2, 1, 1]
        );
        assert_eq!(ledger.read(0, 1).0.in_progress_high, 4);
    }

    #[test]
    fn since_skips_what_was_read() {
        let ledger = Ledger::new(LEDGER_BYTES);
        for _ in 0..3 {
            ledger.arrive(None);
            ledger.finish(record());
        }
        assert_eq!(ledger.read(2, usize::MAX).1.len(), 1);
        assert_eq!(ledger.read(0, 2).1.len(), 2);
        ledger.reset();
        assert_eq!(ledger.read(0, usize::MAX).1.len(), 0);
        assert_eq!(ledger.read(0, 1).0.last, 3);
    }
}
