//! Latency as a peak-sensitive, exponentially weighted moving average.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use crate::mutants::{self, Mutant};

/// The load of one endpoint.
#[derive(Debug)]
pub struct Load {
    latency_ns: Cell<f64>,
    updated: Cell<Instant>,
    pending: Cell<u32>,
    decay_ns: f64,
}

/// A request under way. Its latency counts when its response begins, or fails.
#[derive(Debug)]
pub struct Pending {
    load: Rc<Load>,
    started: Instant,
}

// === impl Load ===

impl Load {
    /// An endpoint of which nothing is known but what to assume. `decay` is the time in which an
    /// old measurement loses all but 1/e of its weight.
    #[must_use]
    pub fn new(default_rtt: Duration, decay: Duration) -> Rc<Self> {
        Rc::new(Self {
            latency_ns: Cell::new(default_rtt.as_nanos() as f64),
            updated: Cell::new(Instant::now()),
            pending: Cell::new(0),
            decay_ns: (decay.as_nanos() as f64).max(1.0),
        })
    }

    /// Comparable with other endpoints'; greater is worse.
    #[must_use]
    pub fn cost(&self, now: Instant) -> f64 {
        let latency = if mutants::active(Mutant::EwmaIgnoresLatency) {
            1.0
        } else {
            self.latency_ns.get() * self.weight_of_past(now)
        };
        latency * f64::from(self.pending.get() + 1)
    }

    /// Begins a request.
    #[must_use]
    pub fn begin(self: &Rc<Self>) -> Pending {
        self.pending.set(self.pending.get() + 1);
        Pending {
            load: Rc::clone(self),
            started: Instant::now(),
        }
    }

    fn measured(&self, latency_ns: f64, now: Instant) {
        let past = self.latency_ns.get();
        let weight = self.weight_of_past(now);
        self.latency_ns.set(if latency_ns > past {
            latency_ns
        } else {
            past * weight + latency_ns * (1.0 - weight)
        });
        self.updated.set(now);
    }

    fn weight_of_past(&self, now: Instant) -> f64 {
        let elapsed_ns = now.saturating_duration_since(self.updated.get()).as_nanos() as f64;
        (-elapsed_ns / self.decay_ns).exp()
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let now = Instant::now();
        let load = &self.load;
        load.pending.set(load.pending.get() - 1);
        load.measured((now - self.started).as_nanos() as f64, now);
    }
}

#[cfg(test)]
mod tests {
    use super::Load;
    use std::time::Duration;
    use tokio::time::{Instant, advance};

    #[tokio::test(start_paused = true)]
    async fn slow_answers_count_at_once_and_fade() {
        let load = Load::new(Duration::from_millis(30), Duration::from_secs(10));
        let request = load.begin();
        advance(Duration::from_millis(900)).await;
        drop(request);
        let slow = load.cost(Instant::now());
        assert!((slow - 900e6).abs() < 1e6, "{slow}");
        advance(Duration::from_secs(10)).await;
        let faded = load.cost(Instant::now());
        assert!(
            (faded / slow - 1.0_f64.exp().recip()).abs() < 0.01,
            "{faded}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn requests_under_way_multiply_the_cost() {
        let load = Load::new(Duration::from_millis(30), Duration::from_secs(10));
        let idle = load.cost(Instant::now());
        let _requests = [load.begin(), load.begin()];
        assert!((load.cost(Instant::now()) / idle - 3.0).abs() < 1e-6);
    }
}
