//! The series of all metrics: found by labels, written as text, forgotten when idle.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::cells::{Counter, Gauge, Histogram};
use super::labels::LabelSet;

/// Series of one name. A peer chooses some label values (an authority, a status), so there is a
/// limit; what comes after is counted in one series without labels.
const MAX_SERIES: usize = 10_000;

/// All metrics of the process. Cheap to clone.
#[derive(Clone)]
pub struct Telemetry(Arc<Inner>);

struct Inner {
    retain_idle: Duration,
    /// By name. Locked when a handle is made, and for copies of handles when metrics are scraped;
    /// never by a request.
    families: Mutex<BTreeMap<&'static str, Family>>,
}

struct Family {
    definition: &'static Definition,
    series: IndexMap<Arc<LabelSet>, Series>,
}

struct Series {
    metric: Metric,
    /// When it was first seen without handles.
    idle_since: Option<Instant>,
}

#[derive(Clone)]
enum Metric {
    Counter(Counter),
    Gauge(Gauge),
    Histogram(Histogram),
}

/// A metric's name and meaning.
#[derive(Debug)]
pub struct Definition {
    /// Name, with the suffix that samples carry (`_total`).
    pub name: &'static str,
    /// One sentence.
    pub help: &'static str,
    /// What it is.
    pub kind: Kind,
}

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Distribution; upper bounds in nanoseconds or bytes.
    Histogram(Unit, &'static [u64]),
}

/// How a histogram's numbers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Whole milliseconds, as in Linkerd's older metrics.
    LegacyMs,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
}

// === impl Telemetry ===

impl Telemetry {
    /// An empty registry. `retain_idle`: how long a series without handles is kept.
    #[must_use]
    pub fn new(retain_idle: Duration) -> Self {
        super::process::started();
        Self(Arc::new(Inner {
            retain_idle,
            families: Mutex::default(),
        }))
    }

    /// The counter with these labels.
    #[must_use]
    pub fn counter(&self, definition: &'static Definition, labels: LabelSet) -> Counter {
        match self.metric(definition, labels) {
            Metric::Counter(counter) => counter,
            // A definition has one kind, so this is unreachable; a stray counter harms nobody.
            Metric::Gauge(_) | Metric::Histogram(_) => Counter::default(),
        }
    }

    /// The gauge with these labels.
    #[must_use]
    pub fn gauge(&self, definition: &'static Definition, labels: LabelSet) -> Gauge {
        match self.metric(definition, labels) {
            Metric::Gauge(gauge) => gauge,
            Metric::Counter(_) | Metric::Histogram(_) => Gauge::default(),
        }
    }

    /// The histogram with these labels.
    #[must_use]
    pub fn histogram(&self, definition: &'static Definition, labels: LabelSet) -> Histogram {
        match self.metric(definition, labels) {
            Metric::Histogram(histogram) => histogram,
            Metric::Counter(_) | Metric::Gauge(_) => Histogram::new(Unit::Seconds, &[]),
        }
    }

    fn metric(&self, definition: &'static Definition, labels: LabelSet) -> Metric {
        let mut families = self.0.families.lock();
        let family = families.entry(definition.name).or_insert_with(|| Family {
            definition,
            series: IndexMap::new(),
        });
        let full = family.series.len() >= MAX_SERIES && !family.series.contains_key(&labels);
        let labels = if full { LabelSet::new() } else { labels };
        let series = family
            .series
            .entry(Arc::new(labels))
            .or_insert_with(|| Series {
                metric: Metric::new(definition.kind),
                idle_since: None,
            });
        series.idle_since = None;
        series.metric.clone()
    }

    /// Appends all series in the Prometheus text format, and forgets those idle for too long.
    pub fn encode(&self, out: &mut String) {
        self.write(out);
        super::spans::encode(out);
        super::process::encode(out);
    }

    /// Writes family by family, of which only the handles are copied under the lock: connections of
    /// the data thread wait for it.
    fn write(&self, out: &mut impl Write) {
        let now = Instant::now();
        let names: Vec<_> = self.0.families.lock().keys().copied().collect();
        for name in names {
            let (definition, series) = {
                let mut families = self.0.families.lock();
                let Some(family) = families.get_mut(name) else {
                    continue;
                };
                family.forget_idle(now, self.0.retain_idle);
                (family.definition, family.handles())
            };
            write_family(out, definition, &series);
        }
    }

    /// Forgets series idle for too long, for processes that nobody scrapes.
    pub fn sweep(&self) {
        let now = Instant::now();
        let mut families = self.0.families.lock();
        for family in families.values_mut() {
            family.forget_idle(now, self.0.retain_idle);
        }
    }
}

impl std::fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Telemetry").finish_non_exhaustive()
    }
}

// === impl Metric ===

impl Metric {
    fn new(kind: Kind) -> Self {
        match kind {
            Kind::Counter => Self::Counter(Counter::default()),
            Kind::Gauge => Self::Gauge(Gauge::default()),
            Kind::Histogram(unit, bounds) => Self::Histogram(Histogram::new(unit, bounds)),
        }
    }

    fn handles(&self) -> usize {
        // The registry's own is not counted.
        match self {
            Self::Counter(counter) => counter.handles() - 1,
            Self::Gauge(gauge) => gauge.handles() - 1,
            Self::Histogram(histogram) => histogram.handles() - 1,
        }
    }
}

// === impl Family ===

impl Family {
    fn forget_idle(&mut self, now: Instant, retain: Duration) {
        self.series.retain(|_, series| {
            if series.metric.handles() > 0 {
                series.idle_since = None;
                return true;
            }
            let since = *series.idle_since.get_or_insert(now);
            now.duration_since(since) < retain
        });
    }

    fn handles(&self) -> Vec<(Arc<LabelSet>, Metric)> {
        let series = self.series.iter();
        series
            .map(|(labels, series)| (Arc::clone(labels), series.metric.clone()))
            .collect()
    }
}

// === impl Kind ===

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(..) => "histogram",
        }
    }
}

// === impl Unit ===

impl Unit {
    fn write(self, value: u64) -> String {
        // Precision is lost only above 2^53 ns, which is 104 days.
        #[allow(clippy::cast_precision_loss)]
        match self {
            Self::LegacyMs => (value / 1_000_000).to_string(),
            Self::Seconds => format!("{:?}", value as f64 / 1e9),
            Self::Bytes => format!("{:?}", value as f64),
        }
    }
}

fn write_family(out: &mut impl Write, definition: &Definition, series: &[(Arc<LabelSet>, Metric)]) {
    if series.is_empty() {
        return;
    }
    let Definition { name, help, kind } = definition;
    write_head(out, name, help, kind.name());
    for (labels, metric) in series {
        match metric {
            Metric::Counter(counter) => write_sample(out, name, "", labels, counter.value()),
            Metric::Gauge(gauge) => write_sample(out, name, "", labels, gauge.value()),
            Metric::Histogram(histogram) => write_histogram(out, name, labels, histogram),
        }
    }
}

/// Writes the two comment lines of a metric.
pub(super) fn write_head(out: &mut impl Write, name: &str, help: &str, kind: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// Writes one sample.
pub(super) fn write_sample(
    out: &mut impl Write,
    name: &str,
    suffix: &str,
    labels: &LabelSet,
    value: impl std::fmt::Display,
) {
    let labels = labels.as_str();
    // Writing to a string cannot fail.
    let _ = if labels.is_empty() {
        writeln!(out, "{name}{suffix} {value}")
    } else {
        writeln!(out, "{name}{suffix}{{{labels}}} {value}")
    };
}

fn write_histogram(out: &mut impl Write, name: &str, labels: &LabelSet, histogram: &Histogram) {
    let mut count = 0;
    for (bound, total) in histogram.cumulative() {
        let bound = bound.map_or("+Inf".to_owned(), |bound| histogram.unit().write(bound));
        write_sample(
            out,
            name,
            "_bucket",
            &labels.clone().with("le", bound),
            total,
        );
        count = total;
    }
    write_sample(out, name, "_count", labels, count);
    write_sample(
        out,
        name,
        "_sum",
        labels,
        histogram.unit().write(histogram.sum()),
    );
}

#[cfg(test)]
mod tests {
    use super::{Definition, Kind, LabelSet, MAX_SERIES, Telemetry, Unit};
    use std::time::Duration;

    static REQUESTS: Definition = Definition {
        name: "request_total",
        help: "Requests.",
        kind: Kind::Counter,
    };
    static LATENCY: Definition = Definition {
        name: "latency_seconds",
        help: "Latency.",
        kind: Kind::Histogram(Unit::Seconds, &[50_000_000, 1_000_000_000]),
    };

    fn text(telemetry: &Telemetry) -> String {
        let mut out = String::new();
        telemetry.encode(&mut out);
        out
    }

    #[tokio::test]
    async fn equal_labels_share_a_series() {
        let telemetry = Telemetry::new(Duration::from_secs(1));
        let labels = LabelSet::new().with("direction", "inbound");
        telemetry.counter(&REQUESTS, labels.clone()).increment();
        telemetry.counter(&REQUESTS, labels).increment();
        let text = text(&telemetry);
        assert!(text.contains("# TYPE request_total counter\n"), "{text}");
        assert!(
            text.contains("request_total{direction=\"inbound\"} 2\n"),
            "{text}"
        );
    }

    #[tokio::test]
    async fn histograms_are_cumulative_and_end_with_infinity() {
        let telemetry = Telemetry::new(Duration::from_secs(1));
        let histogram = telemetry.histogram(&LATENCY, LabelSet::new().with("a", "b"));
        histogram.observe(Duration::from_millis(40));
        histogram.observe(Duration::from_millis(2000));
        let text = text(&telemetry);
        for line in [
            "latency_seconds_bucket{a=\"b\",le=\"0.05\"} 1\n",
            "latency_seconds_bucket{a=\"b\",le=\"1.0\"} 1\n",
            "latency_seconds_bucket{a=\"b\",le=\"+Inf\"} 2\n",
            "latency_seconds_count{a=\"b\"} 2\n",
            "latency_seconds_sum{a=\"b\"} 2.04\n",
        ] {
            assert!(text.contains(line), "no {line} in {text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn idle_series_go_and_held_ones_stay() {
        let telemetry = Telemetry::new(Duration::from_secs(600));
        let held = telemetry.counter(&REQUESTS, LabelSet::new().with("who", "held"));
        telemetry
            .counter(&REQUESTS, LabelSet::new().with("who", "idle"))
            .increment();
        telemetry.sweep();
        tokio::time::advance(Duration::from_secs(599)).await;
        assert!(text(&telemetry).contains("idle"));
        tokio::time::advance(Duration::from_secs(2)).await;
        let text = text(&telemetry);
        assert!(!text.contains("idle") && text.contains("held"), "{text}");
        drop(held);
    }

    /// Asks at each piece of text whether a handle can be made.
    struct Asking<'a>(&'a Telemetry);

    impl std::fmt::Write for Asking<'_> {
        fn write_str(&mut self, _: &str) -> std::fmt::Result {
            assert!(self.0.0.families.try_lock().is_some(), "locked");
            Ok(())
        }
    }

    #[tokio::test]
    async fn nobody_waits_for_a_scrape_to_be_written() {
        let telemetry = Telemetry::new(Duration::from_secs(600));
        let labels = LabelSet::new().with("a", "b");
        telemetry.counter(&REQUESTS, labels.clone()).increment();
        telemetry
            .histogram(&LATENCY, labels)
            .observe(Duration::ZERO);
        telemetry.write(&mut Asking(&telemetry));
    }

    #[tokio::test]
    async fn too_many_label_sets_fall_into_one_series() {
        let telemetry = Telemetry::new(Duration::from_secs(600));
        for n in 0..MAX_SERIES + 5 {
            telemetry
                .counter(&REQUESTS, LabelSet::new().with("n", n))
                .increment();
        }
        assert!(text(&telemetry).contains("\nrequest_total 5\n"));
    }
}
