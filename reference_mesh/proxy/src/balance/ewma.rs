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

/// A request or connection under way. Its latency counts when it is dropped: for a request, as
/// Linkerd does, at the first data of the response, or at an end without any.
#[derive(Debug)]
pub struct Pending {
    load: Rc<Load>,
    /// None when its latency has been counted, or is not to be.
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
            // What has faded to nothing still counts what is under way.
            self.latency_ns(now).max(1.0)
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
    /// The request goes out at this time. Making a connection for it is not the endpoint's latency:
    /// the next request will find the connection.
    pub fn sent(&mut self, now: Instant) {
        self.started = Some(now);
    }

    /// A tunnel is open, which ends the latency; what follows is load alone.
    pub fn answered(&mut self) {
        if let Some(started) = self.started.take() {
            let now = Instant::now();
            self.load.measured((now - started).as_nanos() as f64, now);
        }
    }

    /// There was no answer, or one in the application's place, which may take no time. The endpoint
    /// is taken for no faster than it was, nor than `least`: else all would pick what fails at once.
    pub fn failed(&mut self, least: Duration) {
        if let Some(started) = self.started.take() {
            let now = Instant::now();
            let took_ns = (now - started).max(least).as_nanos() as f64;
            let known_ns = self.load.latency_ns(now);
            self.load.measured(took_ns.max(known_ns), now);
        }
    }

    /// The client did not wait for an answer, which would have taken longer than this.
    pub fn given_up(&mut self) {
        if let Some(started) = self.started.take() {
            let now = Instant::now();
            let waited_ns = (now - started).as_nanos() as f64;
            if waited_ns > self.load.latency_ns(now) {
                self.load.measured(waited_ns, now);
            }
        }
    }

    /// Nothing is to be learned from how long this takes; it is load for as long as it is there.
    pub fn unmeasured(&mut self) {
        self.started = None;
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
    async fn a_tunnel_is_latency_until_it_opens_and_load_until_it_ends() {
        let load = Load::new(MS, Duration::from_secs(10));
        let mut request = load.begin();
        advance(500 * MS).await;
        request.sent(Instant::now());
        advance(100 * MS).await;
        request.answered();
        let under_way = load.cost(Instant::now());
        assert!((under_way - 200e6).abs() < 1e6, "{under_way}");
        drop(request);
        let done = load.cost(Instant::now());
        assert!((done - 100e6).abs() < 1e6, "{done}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_makes_no_endpoint_faster() {
        let load = Load::new(MS, Duration::from_secs(10));
        load.begin().failed(30 * MS);
        let failed = load.cost(Instant::now());
        assert!((failed - 30e6).abs() < 1e6, "{failed}");
        let mut slow = load.begin();
        advance(100 * MS).await;
        slow.answered();
        drop(slow);
        for _ in 0..1000 {
            advance(MS).await;
            load.begin().failed(30 * MS);
        }
        let failing = load.cost(Instant::now());
        assert!((failing - 100e6).abs() < 1e6, "{failing}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_gives_up_tells_how_long_it_waited() {
        let load = Load::new(10 * MS, Duration::from_secs(10));
        load.begin().given_up();
        let idle = load.cost(Instant::now());
        assert!((idle - 10e6).abs() < 1e6, "{idle}");
        let mut unanswered = load.begin();
        advance(100 * MS).await;
        unanswered.given_up();
        drop(unanswered);
        let silent = load.cost(Instant::now());
        assert!((silent - 100e6).abs() < 1e6, "{silent}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_measured_is_load_while_it_is_there() {
        let load = Load::new(MS, Duration::from_secs(10));
        let idle = load.cost(Instant::now());
        let mut bytes = load.begin();
        bytes.unmeasured();
        assert!((load.cost(Instant::now()) / idle - 2.0).abs() < 1e-6);
        advance(Duration::from_secs(600)).await;
        drop(bytes);
        assert!(load.cost(Instant::now()) < idle);
    }

    #[tokio::test(start_paused = true)]
    async fn latency_that_has_faded_still_counts_what_is_under_way() {
        let idle = Load::new(MS, Duration::from_secs(10));
        advance(Duration::from_secs(86_400)).await;
        let now = Instant::now();
        let assumed = latency_of_newcomer([&*idle].into_iter(), MS, now);
        let newcomer = Load::new(assumed, Duration::from_secs(10));
        for load in [idle, newcomer] {
            let before = load.cost(now);
            let _requests = [load.begin(), load.begin()];
            assert!(load.cost(now) > 2.0 * before, "{before}");
        }
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
