//! Atomics behind the metrics.
//!
//! Each worker thread adds to a cache line of its own. The additions are read-modify-write all the
//! same: threads without a number (control, tests) share the first line, and a count must not be
//! lost to that.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use super::registry::Unit;
use crate::mutants::{self, Mutant};

static WORKERS: AtomicUsize = AtomicUsize::new(1);

thread_local! {
    static WORKER: Cell<usize> = const { Cell::new(0) };
}

/// Says how many data-path threads there will be. Metrics made before know only one line.
pub fn set_workers(count: usize) {
    WORKERS.store(count.max(1), Relaxed);
}

/// Gives this thread its own line in each metric; `index` counts from 0.
pub fn set_worker(index: usize) {
    WORKER.set(index);
}

/// A number that only grows. Clones add to the same number.
#[derive(Clone, Debug)]
pub struct Counter(Arc<[Line]>);

/// A number that goes up and down.
#[derive(Clone, Debug)]
pub struct Gauge(Arc<AtomicI64>);

/// A distribution over fixed buckets. Clones record into the same one.
#[derive(Clone, Debug)]
pub struct Histogram(Arc<Buckets>);

#[derive(Debug, Default)]
#[repr(align(64))]
struct Line(AtomicU64);

#[derive(Debug)]
struct Buckets {
    unit: Unit,
    /// Upper bounds, inclusive, in the base unit (nanoseconds or bytes).
    bounds: &'static [u64],
    /// Per worker: one count per bound, one for what is above, and the sum.
    shards: Box<[Box<[AtomicU64]>]>,
}

// === impl Counter ===

impl Default for Counter {
    fn default() -> Self {
        Self(
            (0..WORKERS.load(Relaxed))
                .map(|_| Line::default())
                .collect(),
        )
    }
}

impl Counter {
    /// Adds one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Adds `count`.
    pub fn add(&self, count: u64) {
        if mutants::active(Mutant::CountersDrop) && fastrand::u32(..100) == 0 {
            return;
        }
        self.0[WORKER.get() % self.0.len()]
            .0
            .fetch_add(count, Relaxed);
    }

    /// The sum over all workers.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0
            .iter()
            .fold(0, |sum, line| sum.wrapping_add(line.0.load(Relaxed)))
    }

    pub(super) fn handles(&self) -> usize {
        Arc::strong_count(&self.0)
    }
}

// === impl Gauge ===

impl Default for Gauge {
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(0)))
    }
}

impl Gauge {
    /// Adds `change`.
    pub fn add(&self, change: i64) {
        self.0.fetch_add(change, Relaxed);
    }

    /// Puts `value` in place.
    pub fn set(&self, value: i64) {
        self.0.store(value, Relaxed);
    }

    /// What it is now.
    #[must_use]
    pub fn value(&self) -> i64 {
        self.0.load(Relaxed)
    }

    pub(super) fn handles(&self) -> usize {
        Arc::strong_count(&self.0)
    }
}

// === impl Histogram ===

impl Histogram {
    pub(super) fn new(unit: Unit, bounds: &'static [u64]) -> Self {
        let shard = || (0..bounds.len() + 2).map(|_| AtomicU64::new(0)).collect();
        let shards = (0..WORKERS.load(Relaxed)).map(|_| shard()).collect();
        Self(Arc::new(Buckets {
            unit,
            bounds,
            shards,
        }))
    }

    /// Records a duration.
    pub fn observe(&self, elapsed: Duration) {
        self.record(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Records a size.
    pub fn observe_bytes(&self, bytes: u64) {
        self.record(bytes);
    }

    fn record(&self, value: u64) {
        if mutants::active(Mutant::CountersDrop) && fastrand::u32(..100) == 0 {
            return;
        }
        let shard = &self.0.shards[WORKER.get() % self.0.shards.len()];
        let bounds = self.0.bounds;
        shard[bounds.partition_point(|bound| *bound < value)].fetch_add(1, Relaxed);
        shard[bounds.len() + 1].fetch_add(value, Relaxed);
    }

    pub(super) fn unit(&self) -> Unit {
        self.0.unit
    }

    /// Counts per bucket (bounds, then infinity), cumulative, with each upper bound.
    pub(super) fn cumulative(&self) -> impl Iterator<Item = (Option<u64>, u64)> {
        let bounds = self.0.bounds.iter().copied().map(Some).chain([None]);
        bounds.enumerate().scan(0, |total, (index, bound)| {
            *total += self.sum_of(index);
            Some((bound, *total))
        })
    }

    pub(super) fn sum(&self) -> u64 {
        self.sum_of(self.0.bounds.len() + 1)
    }

    pub(super) fn handles(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    fn sum_of(&self, index: usize) -> u64 {
        let values = self.0.shards.iter().map(|shard| shard[index].load(Relaxed));
        values.fold(0, u64::wrapping_add)
    }
}

#[cfg(test)]
mod tests {
    use super::{Counter, Histogram, Unit};
    use std::time::Duration;

    #[test]
    fn counts_of_many_threads_are_all_there() {
        let counter = Counter::default();
        std::thread::scope(|scope| {
            for worker in 0..4 {
                let counter = &counter;
                scope.spawn(move || {
                    super::set_worker(worker);
                    (0..1000).for_each(|_| counter.increment());
                });
            }
        });
        assert_eq!(counter.value(), 4000);
    }

    #[test]
    fn bounds_are_inclusive() {
        let histogram = Histogram::new(Unit::LegacyMs, &[1_000_000, 2_000_000]);
        for us in [1_000, 1_001, 2_000, 9_000] {
            histogram.observe(Duration::from_micros(us));
        }
        let counts: Vec<_> = histogram.cumulative().map(|(_, count)| count).collect();
        assert_eq!(counts, [1, 3, 4]);
    }
}
