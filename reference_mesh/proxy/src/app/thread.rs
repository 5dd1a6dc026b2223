//! Threads that have an owner.

use std::io;
use std::sync::Arc;
use std::thread;

use tokio::sync::Notify;

/// A thread. Dropped, it is told to end, and waited for.
pub(super) struct Thread {
    stop: Arc<Notify>,
    handle: Option<thread::JoinHandle<()>>,
}

// === impl Thread ===

impl Thread {
    /// Runs `body`, which ends when what it is given is notified, if not before.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(super) fn start(
        name: String,
        body: impl FnOnce(Arc<Notify>) + Send + 'static,
    ) -> io::Result<Self> {
        let stop = Arc::new(Notify::new());
        let stopped = Arc::clone(&stop);
        let handle = thread::Builder::new()
            .name(name)
            .spawn(move || body(stopped))?;
        Ok(Self {
            stop,
            handle: Some(handle),
        })
    }

    /// Waits until the thread has come to its own end.
    pub(super) fn join(mut self) {
        self.wait();
    }

    fn wait(&mut self) {
        if let Some(handle) = self.handle.take() {
            // A panic there has been printed, and the process is ending.
            let _ = handle.join();
        }
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.stop.notify_one();
        self.wait();
    }
}
