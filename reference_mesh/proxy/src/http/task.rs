//! Tasks of the data thread, and who owns them.

use std::cell::RefCell;

use tokio::task::{JoinHandle, JoinSet, spawn_local};

thread_local! {
    /// Tasks that outlive whoever started them: they end with what they serve, or with the thread.
    static BACKGROUND: RefCell<JoinSet<()>> = RefCell::default();
}

/// A task that is aborted when this is dropped.
#[derive(Debug)]
pub struct Owned(JoinHandle<()>);

// === impl Owned ===

impl Owned {
    /// Starts `future` on the data thread.
    pub fn spawn(future: impl Future<Output = ()> + 'static) -> Self {
        Self(spawn_local(future))
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Starts `future` on the data thread, owned by the thread.
pub fn background(future: impl Future<Output = ()> + 'static) {
    BACKGROUND.with_borrow_mut(|tasks| {
        while tasks.try_join_next().is_some() {}
        tasks.spawn_local(future);
    });
}
