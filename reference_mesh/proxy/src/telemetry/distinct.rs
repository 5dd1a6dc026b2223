//! Label values that a peer chooses: few of them become labels.

use std::collections::HashSet;

use parking_lot::Mutex;

/// Values that are kept apart.
const MAX_VALUES: usize = 100;
/// Longest value: a DNS name is no longer.
const MAX_BYTES: usize = 253;
/// What all further values are called.
const OTHER: &str = "other";

/// The values of one label. Those that come first are kept apart for as long as the process lives;
/// then a peer that thinks up new ones makes no new series, and no series of another one goes.
#[derive(Debug, Default)]
pub struct Distinct(Mutex<HashSet<Box<str>>>);

// === impl Distinct ===

impl Distinct {
    /// The value as metrics show it: itself or `other`.
    #[must_use]
    pub fn shown<'a>(&self, value: &'a str) -> &'a str {
        if value.is_empty() {
            return value;
        }
        let mut seen = self.0.lock();
        if seen.contains(value) {
            value
        } else if seen.len() < MAX_VALUES && value.len() <= MAX_BYTES {
            seen.insert(value.into());
            value
        } else {
            OTHER
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Distinct, MAX_BYTES, MAX_VALUES, OTHER};

    #[test]
    fn the_first_values_stay_apart_and_the_rest_are_one() {
        let names = Distinct::default();
        let name = |number: usize| format!("{number}.example");
        for number in 0..MAX_VALUES {
            assert_eq!(names.shown(&name(number)), name(number));
        }
        for number in MAX_VALUES..2 * MAX_VALUES {
            assert_eq!(names.shown(&name(number)), OTHER);
        }
        assert_eq!(names.shown(&name(0)), name(0), "known ones stay");
        assert_eq!(names.shown(""), "", "no name is no value");
    }

    #[test]
    fn what_is_too_long_for_a_name_is_not_kept() {
        let names = Distinct::default();
        assert_eq!(names.shown(&"a".repeat(MAX_BYTES + 1)), OTHER);
    }
}
