//! A body that is read from an HTTP/1 connection.

use std::fmt;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use super::client::Lease;
use super::conn::Shared;
use crate::http::body::{BodyError, Frame, Length};

/// Reads the body; in the client role it also gives the connection back at its end.
pub struct Incoming {
    conn: Shared,
    lease: Option<Lease>,
}

// === impl Incoming ===

impl Incoming {
    /// The body of a request.
    pub(super) fn of_request(conn: &Shared) -> Self {
        Self {
            conn: Rc::clone(conn),
            lease: None,
        }
    }

    /// The body of a response.
    pub(super) fn of_response(conn: &Shared, lease: Lease) -> Self {
        Self {
            conn: Rc::clone(conn),
            lease: Some(lease),
        }
    }

    pub(in crate::http) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, BodyError>>> {
        let frame = ready!(self.conn.borrow_mut().poll_frame(cx));
        if self.is_end() {
            match self.lease.take() {
                Some(lease) => lease.give_back(&self.conn),
                None => wake_reader(&self.conn),
            }
        }
        Poll::Ready(frame)
    }

    pub(in crate::http) fn is_end(&self) -> bool {
        self.conn.borrow().decoder.is_done()
    }

    pub(in crate::http) fn length(&self) -> Length {
        self.conn.borrow().decoder.length()
    }
}

/// Tells the task of the connection that the socket is its own to read again.
fn wake_reader(conn: &Shared) {
    let reader = conn.borrow_mut().reader.take();
    if let Some(reader) = reader {
        reader.wake();
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").finish_non_exhaustive()
    }
}
