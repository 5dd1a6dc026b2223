//! Pauses between attempts to reach the control plane.

use std::time::Duration;

/// Pauses that double, each shortened or lengthened at random so that proxies do not march in step.
#[derive(Clone, Debug)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
}

/// Share by which a pause varies.
const JITTER: f64 = 0.1;

// === impl Backoff ===

impl Backoff {
    /// Pauses from `min` to `max`.
    #[must_use]
    pub const fn new(min: Duration, max: Duration) -> Self {
        Self {
            min,
            max,
            next: min,
        }
    }

    /// The next pause.
    pub fn advance(&mut self) -> Duration {
        let pause = self.next;
        self.next = (self.next * 2).min(self.max);
        pause.mul_f64(1.0 + JITTER * (2.0 * fastrand::f64() - 1.0))
    }

    /// Starts again, after a success.
    pub const fn reset(&mut self) {
        self.next = self.min;
    }
}

#[cfg(test)]
mod tests {
    use super::Backoff;
    use std::time::Duration;

    #[test]
    fn pauses_double_up_to_the_limit() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(300));
        for wanted in [100, 200, 300, 300] {
            let pause = backoff.advance().as_millis();
            assert!(
                pause.abs_diff(wanted) <= wanted / 10 + 1,
                "{pause} is not near {wanted}"
            );
        }
        backoff.reset();
        assert!(backoff.advance() <= Duration::from_millis(111));
    }
}
