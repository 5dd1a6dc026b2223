//! What tests of both servers need: a connection, and something that answers on it.

use ::http::{HeaderMap, Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::{Body, BodyError, Interim, Observer, Reply, Service};
use crate::transport::Io;

/// Answers all requests with nothing; those for `/held` when that is let go.
#[derive(Default)]
pub(super) struct Quiet {
    /// Whether its answers close the connection.
    pub(super) closes: bool,
    pub(super) held: Notify,
}

pub(super) struct Unobserved;

impl Service for Quiet {
    type Observer = Unobserved;

    async fn call(&self, request: Request<Body>, _: &Interim) -> Reply<Unobserved> {
        if request.uri().path() == "/held" {
            self.held.notified().await;
        }
        Reply {
            close: self.closes,
            ..Reply::new(Response::new(Body::Empty), Unobserved)
        }
    }
}

impl Observer for Unobserved {
    fn data(&mut self, _: usize) {}

    fn end(&mut self, _: Option<&HeaderMap>, _: Option<&BodyError>) {}
}

/// A client's end of a connection, and the proxy's.
pub(crate) async fn connection() -> (TcpStream, Io) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let addr = listener.local_addr().expect("address");
    let (client, accepted) = tokio::join!(TcpStream::connect(addr), listener.accept());
    let (accepted, _) = accepted.expect("accept");
    (client.expect("connect"), Io::plain(accepted))
}
