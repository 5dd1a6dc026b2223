//! Ending in good order: no new work, time to finish what is under way, then an end.

use std::time::Duration;

use tokio::sync::watch;

/// Begins the drain, and waits for it.
#[derive(Debug)]
pub struct Trigger {
    draining: watch::Sender<bool>,
}

/// Learns of the drain; while one exists, work is under way.
#[derive(Clone, Debug)]
pub struct Watch {
    draining: watch::Receiver<bool>,
}

/// Makes a connected pair.
#[must_use]
pub fn channel() -> (Trigger, Watch) {
    let (sender, receiver) = watch::channel(false);
    (Trigger { draining: sender }, Watch { draining: receiver })
}

// === impl Trigger ===

impl Trigger {
    /// Tells all work to end and waits until it has, at most `grace`. Whether all of it ended.
    pub async fn drain(self, grace: Duration) -> bool {
        self.draining.send_replace(true);
        tokio::time::timeout(grace, self.draining.closed())
            .await
            .is_ok()
    }
}

// === impl Watch ===

impl Watch {
    /// Whether the drain began.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// Waits until it begins.
    pub async fn signaled(&mut self) {
        // Without a trigger there is no drain to wait for.
        if self.draining.wait_for(|draining| *draining).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// As [`Self::signaled`], for who waits for a peer to begin: by then all that had arrived before
    /// the drain can be read, and a last look at it tells whether there is something to finish.
    pub async fn signaled_to_idle(&mut self) {
        self.signaled().await;
        // The runtime asks the sockets before it goes on here.
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use super::channel;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn a_drain_waits_for_work_but_not_for_ever() {
        let (trigger, mut work) = channel();
        let waits = tokio::spawn(trigger.drain(Duration::from_secs(5)));
        work.signaled().await;
        assert!(work.is_draining());
        drop(work);
        assert!(waits.await.expect("joined"));

        let (trigger, _stuck) = channel();
        assert!(!trigger.drain(Duration::from_secs(5)).await);
    }
}
