//! Connections to one address that carry no request at the moment.
//!
//! The one used last is taken first, so that those beyond the need grow old and are closed. A
//! connection is taken only if the server still holds it open; there are never more than requests
//! were under way at once.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use super::Client;
use crate::http::task;
use crate::mutants::{self, Mutant};

/// See the module.
#[derive(Debug)]
pub struct Pool {
    idle: RefCell<VecDeque<(Instant, Client)>>,
    max_idle: usize,
    idle_timeout: Duration,
    sweeping: Cell<bool>,
    this: std::rc::Weak<Self>,
}

// === impl Pool ===

impl Pool {
    /// A pool that keeps at most `max_idle` connections, each for `idle_timeout`.
    #[must_use]
    pub fn new(max_idle: usize, idle_timeout: Duration) -> Rc<Self> {
        Rc::new_cyclic(|this| Self {
            idle: RefCell::default(),
            max_idle,
            idle_timeout,
            sweeping: Cell::new(false),
            this: this.clone(),
        })
    }

    /// A connection that was open a moment ago.
    #[must_use]
    pub fn take(&self) -> Option<Client> {
        loop {
            let (_, mut client) = self.idle.borrow_mut().pop_back()?;
            if client.is_open() {
                client.reused = true;
                return Some(client);
            }
        }
    }

    /// Whether there is a connection to take.
    #[must_use]
    pub fn has_open(&self) -> bool {
        let mut idle = self.idle.borrow_mut();
        while idle.back().is_some_and(|(_, client)| !client.is_open()) {
            idle.pop_back();
        }
        !idle.is_empty()
    }

    /// Keeps a connection for the next request.
    pub fn put(&self, client: Client) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() >= self.max_idle || mutants::active(Mutant::NoConnectionReuse) {
            return;
        }
        idle.push_back((Instant::now() + self.idle_timeout, client));
        if !self.sweeping.replace(true) {
            task::background(sweep(self.this.clone(), self.idle_timeout));
        }
    }

    /// Closes what is too old; when that must be done next.
    fn close_old(&self) -> Option<Instant> {
        let mut idle = self.idle.borrow_mut();
        let now = Instant::now();
        while idle.front().is_some_and(|(until, _)| *until <= now) {
            idle.pop_front();
        }
        idle.front().map(|(until, _)| *until)
    }
}

/// Closes old connections, for as long as there are any.
async fn sweep(pool: std::rc::Weak<Pool>, first: Duration) {
    let mut next = Instant::now() + first;
    loop {
        tokio::time::sleep_until(next).await;
        let Some(pool) = pool.upgrade() else { return };
        match pool.close_old() {
            Some(at) => next = at,
            None => {
                pool.sweeping.set(false);
                return;
            }
        }
    }
}
