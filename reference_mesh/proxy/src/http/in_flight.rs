//! Requests under way, of which there may be only so many in the whole proxy.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The most requests that may be under way at a time. Data threads share it: what a peer can make
/// this process hold does not grow with the number of threads.
#[derive(Debug)]
pub struct Limit {
    max: usize,
    count: AtomicUsize,
}

/// A request under way, until this is dropped.
#[derive(Debug)]
pub struct InFlight(Arc<Limit>);

// === impl Limit ===

impl Limit {
    /// At most `max` requests.
    #[must_use]
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            max,
            count: AtomicUsize::new(0),
        })
    }

    /// Counts a request in; none when there are as many as may be.
    pub fn enter(self: &Arc<Self>) -> Option<InFlight> {
        let entered = InFlight(Arc::clone(self));
        // One that comes too late counts itself out again.
        (self.count.fetch_add(1, Relaxed) < self.max).then_some(entered)
    }
}

// === impl InFlight ===

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::Limit;

    #[test]
    fn a_request_that_ends_makes_room_for_another() {
        let limit = Limit::new(2);
        let first = limit.enter().expect("room");
        let second = limit.enter().expect("room");
        assert!(limit.enter().is_none());
        assert!(limit.enter().is_none(), "a refused one is not counted");
        drop(first);
        assert!(limit.enter().is_some());
        drop(second);
    }
}
