//! The connections that share the requests to one peer.
//!
//! One is enough for most peers. Each says how many streams it takes at a time; beyond that `h2` would
//! let requests wait for others to end, which behind long-lived streams is for ever. So another
//! connection is made then, and given up once one is enough again.

use std::cell::RefCell;

use super::Client;

/// Connections at most. A peer that takes so few streams on each has requests wait for one another.
const MAX_CONNECTIONS: usize = 64;

/// See the module.
#[derive(Default)]
pub struct Clients {
    open: RefCell<Vec<Client>>,
}

// === impl Clients ===

impl Clients {
    /// A connection for a request; none when one is to be made first.
    #[must_use]
    pub fn take(&self) -> Option<Client> {
        let mut open = self.open.borrow_mut();
        open.retain(|client| !client.is_closed());
        if open.len() > 1 && open[0].is_half_empty() {
            // The one that is idle is closed by this: nobody else has it.
            open.pop_if(|last| last.is_idle());
        }
        let roomy = open.iter().find(|client| client.has_room());
        match roomy {
            None if open.len() >= MAX_CONNECTIONS => open.iter().min_by_key(|client| client.load()),
            found => found,
        }
        .cloned()
    }

    /// Adds a connection that was made because [`Self::take`] had none.
    pub fn add(&self, client: Client) {
        self.open.borrow_mut().push(client);
    }
}
