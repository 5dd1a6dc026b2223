//! Values by key, each kept current by one task, forgotten when nobody looks.

use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

/// How long a value that nobody looks at is kept while the control plane cannot be heard. It bounds what
/// a service costs of which the control plane says nothing: one without endpoints, with some.
const UNHEARD_LIMIT: Duration = Duration::from_secs(3600);

/// The work behind a value; ends when the value is forgotten.
pub(super) type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Shared values of one kind.
pub(super) struct Watches<K, V> {
    /// How long a value without receivers is kept.
    idle: Duration,
    entries: Mutex<HashMap<K, Feed<V>>>,
}

/// Where a task puts what it learns.
pub(super) struct Feed<V>(Arc<Channels<V>>);

struct Channels<V> {
    value: watch::Sender<V>,
    /// Whether there is a value, or none is to be waited for.
    known: watch::Sender<bool>,
    /// Whether a value was ever put in: before, it is a placeholder.
    learned: AtomicBool,
    /// Whether anybody looked, however briefly, since this was last taken back.
    used: AtomicBool,
    /// Whether the control plane is being heard. While it is not, a value that was learned is kept
    /// even if nobody looks: there would be no way to learn it again.
    heard: AtomicBool,
}

// === impl Watches ===

impl<K: Clone + Eq + Hash + Send + Sync + 'static, V: Send + Sync + 'static> Watches<K, V> {
    pub(super) fn new(idle: Duration) -> Arc<Self> {
        Arc::new(Self {
            idle,
            entries: Mutex::default(),
        })
    }

    /// The value of `key`, and the task that keeps it current if it is new.
    pub(super) fn subscribe<F: Future<Output = ()> + Send + 'static>(
        self: &Arc<Self>,
        key: K,
        placeholder: impl FnOnce() -> V,
        follow: impl FnOnce(Feed<V>) -> F,
    ) -> (Subscription<V>, Option<Task>) {
        let mut entries = self.entries.lock();
        if let Some(feed) = entries.get(&key) {
            return (feed.subscribe(), None);
        }
        let feed = Feed::new(placeholder());
        entries.insert(key.clone(), feed.clone());
        let subscription = feed.subscribe();
        let follow = follow(feed.clone());
        let this = self.clone();
        let task = async move {
            tokio::select! {
                () = this.expired(&key, &feed) => {}
                // A task that ends has nothing more to learn: the value stays as it is.
                () = async { follow.await; std::future::pending().await } => {}
            }
        };
        (subscription, Some(Box::pin(task)))
    }

    /// Whether `key` is watched.
    pub(super) fn contains(&self, key: &K) -> bool {
        self.entries.lock().contains_key(key)
    }

    /// Keys that are watched, of those that `is_counted` picks.
    pub(super) fn count(&self, is_counted: impl Fn(&K) -> bool) -> usize {
        let entries = self.entries.lock();
        entries.keys().filter(|key| is_counted(key)).count()
    }

    /// Values that are watched.
    pub(super) fn len(&self) -> usize {
        self.entries.lock().len()
    }

    /// Returns when nobody looked for the idle time; the entry is then gone.
    async fn expired(&self, key: &K, feed: &Feed<V>) {
        let mut unused_since = None;
        loop {
            feed.0.value.closed().await;
            {
                let _nobody_subscribes = self.entries.lock();
                feed.0
                    .used
                    .store(feed.0.value.receiver_count() > 0, Relaxed);
            }
            let since = *unused_since.get_or_insert_with(Instant::now);
            sleep(self.idle).await;
            let mut entries = self.entries.lock();
            if feed.0.used.load(Relaxed) {
                unused_since = None;
                continue;
            }
            let keep = !feed.0.heard.load(Relaxed) && feed.has_learned();
            // Subscribing takes the same lock, so nobody can come between.
            if !keep || since.elapsed() > UNHEARD_LIMIT {
                entries.remove(key);
                return;
            }
        }
    }
}

/// A receiver, and whether its value is more than a placeholder.
pub(super) struct Subscription<V> {
    value: watch::Receiver<V>,
    known: watch::Receiver<bool>,
}

// === impl Subscription ===

impl<V> Subscription<V> {
    /// The receiver as it is.
    pub(super) fn now(self) -> watch::Receiver<V> {
        self.value
    }

    /// The receiver once its value is known, or after `limit`.
    pub(super) async fn known(mut self, limit: Duration) -> watch::Receiver<V> {
        // Late is not an error.
        self.wait(limit).await;
        self.value
    }

    /// The receiver once its value is known; none if it is not after `limit`.
    pub(super) async fn known_in(mut self, limit: Duration) -> Option<watch::Receiver<V>> {
        self.wait(limit).await.then_some(self.value)
    }

    /// Whether the value is known, at the latest after `limit`.
    async fn wait(&mut self, limit: Duration) -> bool {
        // The sender lives at least as long as this receiver does.
        let is_known = timeout(limit, self.known.wait_for(|known| *known))
            .await
            .is_ok();
        self.value.mark_unchanged();
        is_known
    }
}

// === impl Feed ===

impl<V> Feed<V> {
    fn new(placeholder: V) -> Self {
        Self(Arc::new(Channels {
            value: watch::Sender::new(placeholder),
            known: watch::Sender::new(false),
            learned: AtomicBool::new(false),
            used: AtomicBool::new(false),
            heard: AtomicBool::new(false),
        }))
    }

    fn subscribe(&self) -> Subscription<V> {
        self.0.used.store(true, Relaxed);
        Subscription {
            value: self.0.value.subscribe(),
            known: self.0.known.subscribe(),
        }
    }

    /// Puts a value in.
    pub(super) fn set(&self, value: V) {
        self.0.learned.store(true, Relaxed);
        self.0.value.send_replace(value);
        self.0.known.send_replace(true);
    }

    /// Says that what is there is all that will be known for now.
    pub(super) fn settle(&self) {
        self.0.known.send_replace(true);
    }

    /// Whether a value was ever put in.
    pub(super) fn has_learned(&self) -> bool {
        self.0.learned.load(Relaxed)
    }

    /// Notes whether the control plane is being heard.
    pub(super) fn heard(&self, heard: bool) {
        self.0.heard.store(heard, Relaxed);
    }
}

impl<V> Clone for Feed<V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::{Feed, UNHEARD_LIMIT, Watches};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::time::Duration;
    use tokio::sync::watch;
    use tokio::time::{Instant, sleep};

    const IDLE: Duration = Duration::from_secs(5);

    fn look(
        watches: &Arc<Watches<u8, u32>>,
        runs: &Arc<AtomicUsize>,
        heard: bool,
    ) -> watch::Receiver<u32> {
        let runs = runs.clone();
        let follow = move |feed: Feed<u32>| async move {
            runs.fetch_add(1, Relaxed);
            feed.heard(heard);
            feed.set(7);
        };
        let (subscription, task) = watches.subscribe(1, || 0, follow);
        if let Some(task) = task {
            tokio::spawn(task);
        }
        subscription.now()
    }

    async fn runs_after(unused: Duration, heard: bool) -> usize {
        let watches = Watches::new(IDLE);
        let runs = Arc::default();
        let mut receiver = look(&watches, &runs, heard);
        receiver.changed().await.expect("the task sets a value");
        assert_eq!(*look(&watches, &runs, heard).borrow(), 7, "shared");
        drop(receiver);
        sleep(unused).await;
        drop(look(&watches, &runs, heard));
        tokio::task::yield_now().await;
        runs.load(Relaxed)
    }

    #[tokio::test(start_paused = true)]
    async fn a_value_nobody_looks_at_is_forgotten() {
        assert_eq!(runs_after(IDLE * 3, true).await, 2);
    }

    /// What comes of waiting 10 s for a value that is put in after `delay`, and how long that took.
    async fn waited_for(delay: Duration) -> (Option<u32>, Duration) {
        let watches = Watches::new(IDLE);
        let follow = |feed: Feed<u32>| async move {
            sleep(delay).await;
            feed.set(7);
        };
        let (subscription, task) = watches.subscribe(1, || 0, follow);
        tokio::spawn(task.expect("new"));
        let started = Instant::now();
        let known = subscription.known_in(Duration::from_secs(10)).await;
        (known.map(|value| *value.borrow()), started.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_placeholder_is_never_taken_for_a_value() {
        let second = Duration::from_secs(1);
        assert_eq!(waited_for(second).await, (Some(7), second));
        assert_eq!(waited_for(60 * second).await, (None, 10 * second));
    }

    #[tokio::test(start_paused = true)]
    async fn a_value_is_kept_while_it_could_not_be_learned_again() {
        assert_eq!(runs_after(IDLE * 3, false).await, 1);
        assert_eq!(runs_after(UNHEARD_LIMIT * 2, false).await, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_brief_look_now_and_then_keeps_a_value() {
        let watches = Watches::new(IDLE);
        let runs = Arc::default();
        let started = Instant::now();
        while started.elapsed() < UNHEARD_LIMIT * 2 {
            drop(look(&watches, &runs, false));
            sleep(IDLE / 2).await;
        }
        assert_eq!(runs.load(Relaxed), 1);
    }
}
