//! Asking traffic to stop.

use tokio::sync::watch;

/// Told to everyone who holds a clone of it, once.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

/// Sets a [`Stop`]; dropping it sets it too.
#[derive(Debug)]
pub struct StopSetter(watch::Sender<bool>);

/// A stop that is not set, and its setter.
pub fn stop() -> (StopSetter, Stop) {
    let (sender, receiver) = watch::channel(false);
    (StopSetter(sender), Stop(receiver))
}

impl StopSetter {
    /// Sets it.
    pub fn set(&self) {
        self.0.send_replace(true);
    }
}

impl Stop {
    /// Whether it is set.
    pub fn is_set(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }

    /// Returns once it is set.
    pub async fn wait(&self) {
        let mut receiver = self.0.clone();
        // An error means that the setter is gone, which sets it.
        let _ = receiver.wait_for(|set| *set).await;
    }
}
