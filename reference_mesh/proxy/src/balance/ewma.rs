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

/// A request or connection under way. A request's latency counts when its response begins, or fails.
#[derive(Debug)]
pub struct Pending {
    load: Rc<Load>,
    /// None when its latency has been counted.
    started: Option<Instant>,
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
            self.latency_ns(now)
        };
        latency * f64::from(self.pending.get() + 1)
    }

    /// What a request may have to wait by itself.
    fn latency_ns(&self, now: Instant) -> f64 {
        self.latency_ns.get() * self.weight_of_past(now)
    }

    /// Begins a request.
    #[must_use]
    pub fn begin(self: &Rc<Self>) -> Pending {
        self.pending.set(self.pending.get() + 1);
        Pending {
            load: Rc::clone(self),
            started: Some(Instant::now()),
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

/// Latency to assume of an endpoint that joins these: that of the one in the middle, or `most`.
#[must_use]
pub fn latency_of_newcomer<'a>(
    loads: impl Iterator<Item = &'a Load>,
    most: Duration,
    now: Instant,
) -> Duration {
    let mut known: Vec<f64> = loads.map(|load| load.latency_ns(now)).collect();
    if known.is_empty() {
        return most;
    }
    let middle = (known.len() - 1) / 2;
    let (_, typical_ns, _) = known.select_nth_unstable_by(middle, f64::total_cmp);
    Duration::from_nanos(*typical_ns as u64).min(most)
}

// === impl Pending ===

impl Pending {
    /// A connection was found or made, and the request goes out now. What that took is not the
    /// endpoint's latency: the next request will find the connection.
    pub fn sent(&mut self) {
        self.started = Some(Instant::now());
    }

    /// All that is to be waited for has come, as when a connection is made that carries bytes; what
    /// follows is load, but no latency.
    pub fn answered(&mut self) {
        if let Some(started) = self.started.take() {
            let now = Instant::now();
            self.load.measured((now - started).as_nanos() as f64, now);
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.answered();
        self.load.pending.set(self.load.pending.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::{Load, latency_of_newcomer};
    use std::rc::Rc;
    use std::time::Duration;
    use tokio::time::{Instant, advance};

    const MS: Duration = Duration::from_millis(1);

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

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_no_latency_for_requests_and_all_of_it_for_bytes() {
        let loads: [Rc<Load>; 2] = std::array::from_fn(|_| Load::new(MS, Duration::from_secs(10)));
        let [mut request, mut bytes] = [loads[0].begin(), loads[1].begin()];
        advance(100 * MS).await;
        request.sent();
        bytes.answered();
        advance(900 * MS).await;
        drop((request, bytes));
        let now = Instant::now();
        let (request_ns, bytes_ns) = (loads[0].cost(now), loads[1].cost(now));
        assert!((request_ns - 900e6).abs() < 1e6, "{request_ns}");
        assert!((80e6..100e6).contains(&bytes_ns), "{bytes_ns}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_newcomer_among_fast_endpoints_is_picked_soon() {
        let decay = Duration::from_secs(10);
        let endpoint = || Load::new(30 * MS, decay);
        let mut loads = vec![endpoint(), endpoint()];
        let answer = async |load: &Rc<Load>| {
            let _request = load.begin();
            advance(MS).await;
        };
        for _ in 0..50_000 {
            answer(
                crate::balance::pick(&loads, |_| true, |l| l.cost(Instant::now())).expect("two"),
            )
            .await;
        }
        let known = loads.iter().map(|load| &**load);
        let assumed = latency_of_newcomer(known, 30 * MS, Instant::now());
        assert!(assumed < 2 * MS, "{assumed:?}");
        loads.push(Load::new(assumed, decay));
        let before = Instant::now();
        loop {
            let picked =
                crate::balance::pick(&loads, |_| true, |l| l.cost(Instant::now())).expect("three");
            if Rc::ptr_eq(picked, &loads[2]) {
                break;
            }
            answer(picked).await;
        }
        assert!(
            before.elapsed() < Duration::from_secs(1),
            "{:?}",
            before.elapsed()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_newcomer_is_never_taken_for_slower_than_the_default() {
        let now = Instant::now();
        assert_eq!(latency_of_newcomer([].into_iter(), 30 * MS, now), 30 * MS);
        let slow = Load::new(900 * MS, Duration::from_secs(10));
        assert_eq!(
            latency_of_newcomer([&*slow].into_iter(), 30 * MS, now),
            30 * MS
        );
        let fast = Load::new(MS, Duration::from_secs(10));
        let assumed = latency_of_newcomer([&*slow, &*fast].into_iter(), 30 * MS, now);
        assert_eq!(assumed, MS);
    }
}
