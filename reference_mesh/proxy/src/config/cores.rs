//! How many data threads there are, as linkerd2-proxy decides it.

use std::num::NonZeroUsize;

use super::env::{Reader, Strings};
use super::read::key;

/// What is asked for and what there is.
struct Wanted {
    available: NonZeroUsize,
    min: NonZeroUsize,
    max: Option<NonZeroUsize>,
    max_ratio: Option<f64>,
}

/// At most the CPUs that this process may use: by affinity and, in a container, by quota, of which
/// part of one is one. As in linkerd2-proxy, what is no number is passed over with a warning, and
/// does not stop the start.
pub(super) fn cores<S: Strings>(r: &Reader<'_, S>) -> NonZeroUsize {
    let count = |name| known(r, name, "a number above 0", |text| text.parse().ok());
    let fixed = count("CORES");
    let ratio = |text: &str| {
        text.parse()
            .ok()
            .filter(|ratio| *ratio > 0.0 && *ratio <= 1.0)
    };
    let wanted = Wanted {
        // The standard library rounds a quota down.
        available: NonZeroUsize::new(num_cpus::get()).unwrap_or(NonZeroUsize::MIN),
        min: count("CORES_MIN").or(fixed).unwrap_or(NonZeroUsize::MIN),
        max: count("CORES_MAX"),
        max_ratio: known(r, "CORES_MAX_RATIO", "a number above 0, at most 1", ratio),
    };
    wanted.cores()
}

fn known<S: Strings, T>(
    r: &Reader<'_, S>,
    name: &str,
    expected: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Option<T> {
    let key = key(name);
    let text = r.text(&key)?;
    let value = parse(&text);
    if value.is_none() {
        tracing::warn!("{key}: ignored, as {text:?} is not {expected}");
    }
    value
}

impl Wanted {
    fn cores(&self) -> NonZeroUsize {
        // Counts of CPUs are far below what a float can tell apart, and the ratio is at most 1.
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss
        )]
        let share = |ratio: f64| (self.available.get() as f64 * ratio).round() as usize;
        let by_ratio = || self.max_ratio.map(share).and_then(NonZeroUsize::new);
        let max = self.max.or_else(by_ratio).unwrap_or(NonZeroUsize::MIN);
        max.max(self.min).min(self.available)
    }
}

#[cfg(test)]
mod tests {
    use super::Wanted;
    use std::num::NonZeroUsize;

    fn cores(available: usize, min: usize, max: usize, max_ratio: Option<f64>) -> usize {
        let wanted = Wanted {
            available: NonZeroUsize::new(available).expect("CPUs"),
            min: NonZeroUsize::new(min).expect("at least 1"),
            max: NonZeroUsize::new(max),
            max_ratio,
        };
        wanted.cores().get()
    }

    #[test]
    fn one_unless_more_are_asked_for_and_there() {
        assert_eq!(cores(8, 1, 0, None), 1);
        assert_eq!(cores(8, 4, 0, None), 4, "CORES alone is the least");
        assert_eq!(cores(2, 4, 0, None), 2, "no more than there are");
        assert_eq!(cores(8, 4, 2, None), 4, "the least goes before the most");
    }

    #[test]
    fn a_ratio_is_rounded_and_yields_to_a_number() {
        assert_eq!(cores(10, 1, 0, Some(0.31)), 3);
        assert_eq!(cores(10, 1, 0, Some(0.35)), 4);
        assert_eq!(cores(10, 1, 0, Some(0.01)), 1);
        assert_eq!(cores(10, 1, 2, Some(1.0)), 2);
        assert_eq!(cores(10, 6, 0, Some(0.5)), 6);
    }
}
