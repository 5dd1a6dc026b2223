//! Whether the proxy is ready: when nothing that was announced at the start is still to be done.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;

/// What is still to be done. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Readiness(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    started: Instant,
    pending: Mutex<BTreeSet<&'static str>>,
}

/// Something that is to be done; done when dropped.
#[derive(Debug)]
pub struct Guard {
    readiness: Readiness,
    name: &'static str,
}

// === impl Readiness ===

impl Readiness {
    /// Nothing to be done.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Inner {
            started: Instant::now(),
            pending: Mutex::default(),
        }))
    }

    /// Announces something to be done. Names must differ.
    #[must_use]
    pub fn task(&self, name: &'static str) -> Guard {
        self.0.pending.lock().insert(name);
        Guard {
            readiness: self.clone(),
            name,
        }
    }

    /// What is still to be done, by name.
    #[must_use]
    pub fn pending(&self) -> Vec<&'static str> {
        self.0.pending.lock().iter().copied().collect()
    }

    /// Whether all is done.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.0.pending.lock().is_empty()
    }
}

impl Default for Readiness {
    fn default() -> Self {
        Self::new()
    }
}

// === impl Guard ===

impl Drop for Guard {
    fn drop(&mut self) {
        let Inner { started, pending } = &*self.readiness.0;
        let mut pending = pending.lock();
        pending.remove(self.name);
        let after = started.elapsed();
        match pending.len() {
            0 => tracing::info!(task = self.name, ?after, "ready"),
            left => tracing::info!(task = self.name, ?after, left, "started"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Readiness;

    #[tokio::test]
    async fn ready_when_every_guard_is_gone() {
        let readiness = Readiness::new();
        let (identity, listeners) = (readiness.task("identity"), readiness.task("listeners"));
        drop(listeners);
        assert_eq!(
            (readiness.is_ready(), readiness.pending()),
            (false, vec!["identity"])
        );
        drop(identity);
        assert!(readiness.is_ready());
    }
}
