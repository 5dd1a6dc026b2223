//! HTTP as the proxy carries it: both versions' codecs, bodies, header rules, errors.
//!
//! A request is a plain `http::Request<Body>` and is handled by one async function per direction;
//! there is no middleware stack. Both servers (`h1`, `h2`) call a [`Service`] and write what it
//! answers; both clients turn a request into a response whose body still flows.

pub mod body;
pub mod error;
pub mod filters;
pub mod h1;
pub mod h2;
pub mod headers;
pub mod in_flight;
pub mod orig_proto;
pub mod task;
#[cfg(test)]
pub(crate) mod test_service;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use ::http::{HeaderMap, Request, Response};

pub use self::body::{Body, BodyError, Frame};
use crate::transport::Io;

/// Handles the requests of a connection.
pub trait Service {
    /// Told how the response went.
    type Observer: Observer;

    /// Answers `request`. 1xx responses that arrive before it are put into `interim`.
    fn call(
        &self,
        request: Request<Body>,
        interim: &Interim,
    ) -> impl Future<Output = Reply<Self::Observer>>;
}

/// Follows one response to its end. Dropped without [`Observer::end`]: the client went away.
pub trait Observer {
    /// `len` bytes of the body were passed on.
    fn data(&mut self, len: usize);

    /// The body ended, with these trailers, or broke.
    fn end(&mut self, trailers: Option<&HeaderMap>, error: Option<&BodyError>);
}

/// What a service answers.
pub struct Reply<O> {
    /// Head and body.
    pub response: Response<Body>,
    /// Told how the response goes.
    pub observer: O,
    /// The connection that takes over after a 101, or a 2xx to CONNECT.
    pub tunnel: Option<Tunnel>,
    /// Whether the client is to use its connection for no further requests.
    pub close: bool,
}

/// An upstream connection that became a byte stream, with what was read of it already.
pub struct Tunnel {
    /// The connection.
    pub io: Io,
    /// Kept until the tunnel ends.
    pub guard: Option<Box<dyn std::any::Any>>,
}

/// Informational responses on their way to the client of one request.
///
/// The server looks into it each time that it has polled the service, which runs in the same task,
/// so no waker is needed.
#[derive(Clone, Default)]
pub struct Interim(Rc<RefCell<VecDeque<Response<()>>>>);

// === impl Interim ===

/// Informational responses that may wait for one client. More are dropped: they carry no outcome.
const MAX_WAITING_INTERIM: usize = 8;

impl Interim {
    /// Passes on an informational response.
    pub fn send(&self, response: Response<()>) {
        let mut waiting = self.0.borrow_mut();
        if waiting.len() < MAX_WAITING_INTERIM {
            waiting.push_back(response);
        }
    }

    /// The oldest that was not taken yet.
    #[must_use]
    pub fn take(&self) -> Option<Response<()>> {
        self.0.borrow_mut().pop_front()
    }
}

// === impl Reply ===

impl<O> Reply<O> {
    /// An ordinary response.
    pub fn new(response: Response<Body>, observer: O) -> Self {
        Self {
            response,
            observer,
            tunnel: None,
            close: false,
        }
    }
}
