//! Metrics whose last labels are known only when a response ends.

use std::sync::OnceLock;

use parking_lot::Mutex;

/// Keys that are found without a lock. A route sees few different outcomes.
const FAST_SLOTS: usize = 6;

/// A small map that only grows, read without a lock for its first keys.
#[derive(Debug)]
pub(super) struct ByKey<K, V> {
    fast: [OnceLock<(K, V)>; FAST_SLOTS],
    rest: Mutex<Vec<(K, V)>>,
}

// === impl ByKey ===

impl<K, V> Default for ByKey<K, V> {
    fn default() -> Self {
        Self {
            fast: [const { OnceLock::new() }; FAST_SLOTS],
            rest: Mutex::default(),
        }
    }
}

impl<K: Copy + Eq, V> ByKey<K, V> {
    /// Uses the value of `key`, which is made at its first use.
    pub(super) fn with<T>(&self, key: K, make: impl Fn() -> V, used: impl Fn(&V) -> T) -> T {
        for slot in &self.fast {
            // Another thread may fill the slot with another key meanwhile: then the next is tried.
            let (found, value) = slot.get_or_init(|| (key, make()));
            if *found == key {
                return used(value);
            }
        }
        let mut rest = self.rest.lock();
        let index = rest
            .iter()
            .position(|(found, _)| *found == key)
            .unwrap_or_else(|| {
                rest.push((key, make()));
                rest.len() - 1
            });
        used(&rest[index].1)
    }
}

#[cfg(test)]
mod tests {
    use super::{ByKey, FAST_SLOTS};
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    #[test]
    fn each_key_is_made_once() {
        let made = AtomicUsize::new(0);
        let map = ByKey::<usize, usize>::default();
        for _ in 0..2 {
            for key in 0..FAST_SLOTS * 2 {
                let make = || {
                    made.fetch_add(1, Relaxed);
                    key * 10
                };
                assert_eq!(map.with(key, make, |value| *value), key * 10);
            }
        }
        assert_eq!(made.load(Relaxed), FAST_SLOTS * 2);
    }
}
