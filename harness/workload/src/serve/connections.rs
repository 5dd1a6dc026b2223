//! Connections that the application accepted.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use serde::Serialize;

use crate::clock::unix_ns;

/// Closed connections that are remembered one by one; older ones are only counted.
const CLOSED_KEPT: usize = 4096;

/// One connection.
#[derive(Clone, Debug, Serialize)]
pub struct Facts {
    /// Number within this process, from 1.
    pub connection: u64,
    /// Port of the application.
    pub port: u16,
    /// `HTTP/1`, `HTTP/2`, `tcp`, or empty as long as nothing was received.
    pub protocol: &'static str,
    /// Peer address.
    pub peer: String,
    /// Own address.
    pub local: String,
    /// When it was accepted, Unix nanoseconds.
    pub opened_ns: u64,
    /// When it ended; `None` while it is open.
    pub closed_ns: Option<u64>,
    /// Requests that arrived on it.
    pub requests: u64,
    /// Why it ended, or empty.
    pub end: String,
}

/// Totals since the last reset, and the connections themselves.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Connections accepted.
    pub opened: u64,
    /// Connections open now.
    pub open: u64,
    /// Most connections open at once.
    pub open_high: u64,
    /// Closed connections that are no longer listed.
    pub dropped: u64,
    /// Open ones and the last closed ones, by number.
    pub connections: Vec<Facts>,
}

/// Every connection of the application.
#[derive(Debug, Default)]
pub struct Connections {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    opened: u64,
    open_high: u64,
    dropped: u64,
    open: Vec<Arc<Shared>>,
    closed: VecDeque<Facts>,
}

#[derive(Debug)]
struct Shared {
    facts: Mutex<Facts>,
    requests: AtomicU64,
}

impl Shared {
    fn facts(&self) -> Facts {
        Facts {
            requests: self.requests.load(Ordering::Relaxed),
            ..self.facts.lock().clone()
        }
    }
}

impl Connections {
    /// Counts a new connection; it is open until the result is dropped.
    pub fn open(self: &Arc<Self>, local: SocketAddr, peer: SocketAddr) -> Connection {
        let mut state = self.state.lock();
        state.last += 1;
        state.opened += 1;
        let shared = Arc::new(Shared {
            facts: Mutex::new(Facts {
                connection: state.last,
                port: local.port(),
                protocol: "",
                peer: peer.to_string(),
                local: local.to_string(),
                opened_ns: unix_ns(),
                closed_ns: None,
                requests: 0,
                end: String::new(),
            }),
            requests: AtomicU64::new(0),
        });
        state.open.push(shared.clone());
        state.open_high = state.open_high.max(state.open.len() as u64);
        Connection {
            number: state.last,
            port: local.port(),
            shared,
            all: self.clone(),
        }
    }

    /// What is known now.
    pub fn report(&self) -> Report {
        let state = self.state.lock();
        let mut connections: Vec<Facts> = state.closed.iter().cloned().collect();
        connections.extend(state.open.iter().map(|shared| shared.facts()));
        connections.sort_by_key(|facts| facts.connection);
        Report {
            opened: state.opened,
            open: state.open.len() as u64,
            open_high: state.open_high,
            dropped: state.dropped,
            connections,
        }
    }

    /// Forgets closed connections and restarts the totals.
    pub fn reset(&self) {
        let mut state = self.state.lock();
        state.opened = 0;
        state.dropped = 0;
        state.closed.clear();
        state.open_high = state.open.len() as u64;
    }
}

/// One open connection.
#[derive(Debug)]
pub struct Connection {
    /// Number within this process, from 1.
    pub number: u64,
    /// Port of the application.
    pub port: u16,
    shared: Arc<Shared>,
    all: Arc<Connections>,
}

impl Connection {
    /// Notes what is spoken on it.
    pub fn speaks(&self, protocol: &'static str) {
        self.shared.facts.lock().protocol = protocol;
    }

    /// Notes why it ends.
    pub fn ends(&self, why: impl Into<String>) {
        self.shared.facts.lock().end = why.into();
    }

    /// Counts a request; gives back its place, from 1.
    pub fn next_request(&self) -> u64 {
        self.shared.requests.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Peer and own address.
    pub fn addresses(&self) -> (String, String) {
        let facts = self.shared.facts.lock();
        (facts.peer.clone(), facts.local.clone())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut state = self.all.state.lock();
        state.open.retain(|other| !Arc::ptr_eq(other, &self.shared));
        if state.closed.len() == CLOSED_KEPT {
            state.closed.pop_front();
            state.dropped += 1;
        }
        let facts = self.shared.facts();
        state.closed.push_back(Facts {
            closed_ns: Some(unix_ns()),
            ..facts
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_follow_open_and_close() {
        let all = Arc::new(Connections::default());
        let address = SocketAddr::from(([127, 0, 0, 1], 80));
        let (first, second) = (all.open(address, address), all.open(address, address));
        second.next_request();
        drop(first);
        let report = all.report();
        assert_eq!((report.opened, report.open, report.open_high), (2, 1, 2));
        assert!(report.connections[0].closed_ns.is_some());
        assert_eq!(report.connections[1].requests, 1);
        all.reset();
        assert_eq!(all.report().connections.len(), 1);
    }
}
