//! The client role: one request on a connection, which then goes back to its pool.

use std::cell::RefCell;
use std::io;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, ready};

use ::http::{Method, Request, Response, StatusCode};
use thiserror::Error;

use super::arrival::Arrival;
use super::conn::{Conn, Shared};
use super::decode::{Chunk, Decoder};
use super::encode::{self, Encoder};
use super::head::{ResponseFraming, ResponseHead, parse_response};
use super::incoming::Incoming;
use super::pool::Pool;
use crate::http::body::{Body, BodyError};
use crate::http::task::Owned;
use crate::http::{Interim, Tunnel};
use crate::transport::Io;

/// A connection that carries no request.
#[derive(Debug)]
pub struct Client {
    conn: Shared,
    /// Whether it lay in a pool, where its server may have closed it meanwhile.
    pub(super) reused: bool,
}

/// Why there is no response.
#[derive(Debug, Error)]
pub enum SendError {
    /// The connection failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It ended before a response.
    #[error("connection closed before a response")]
    Closed,
    /// What came is not a response.
    #[error("{0}")]
    Malformed(&'static str),
    /// The request's own body broke off.
    #[error("request body: {0}")]
    Request(BodyError),
    /// The connection, which was kept from earlier requests, ended or failed without a byte of a
    /// response: most likely as the server closed it before the request came. The request, which has
    /// no body, can be sent again if it is idempotent. On a fresh connection it was the request that
    /// failed, and that is for its client to know.
    #[error("connection closed before a response")]
    Unanswered(Box<Request<Body>>),
}

/// What is owed at the end of a response: the connection goes back, if both messages are whole.
pub(super) struct Lease {
    keep_alive: bool,
    upload: Option<Owned>,
    pool: Weak<Pool>,
}

// === impl Client ===

impl Client {
    /// A client on a fresh connection.
    #[must_use]
    pub fn new(io: Io) -> Self {
        Self::on(Conn::new(io))
    }

    fn on(conn: Conn) -> Self {
        Self {
            conn: Rc::new(RefCell::new(conn)),
            reused: false,
        }
    }

    /// Whether the server still holds the connection open and has sent nothing unasked.
    #[must_use]
    pub fn is_open(&self) -> bool {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut conn = self.conn.borrow_mut();
        conn.read.is_empty() && conn.poll_read_idle(&mut cx).is_pending()
    }

    /// Sends `request` and returns the response once its head is there. `pool` gets the connection
    /// back after the response's body, if it can be used again.
    ///
    /// # Errors
    /// [`SendError`]; the connection is then closed.
    pub async fn send(
        self,
        request: Request<Body>,
        interim: &Interim,
        pool: &Rc<Pool>,
    ) -> Result<(Response<Body>, Option<Tunnel>), SendError> {
        let Self { conn, reused } = self;
        let method = request.method().clone();
        let version = request.version();
        let has_body = !request.body().is_end();
        let (head, upload) = start(&conn, request).await;
        let unsent = (reused && !has_body).then(|| Box::new(head.map(|()| Body::Empty)));
        let head = final_head(&conn, &method, unsent, interim).await?;
        let ResponseHead {
            mut response,
            framing,
            keep_alive,
        } = head;
        if is_tunnel(&method, response.status()) {
            *response.version_mut() = version;
            drop(upload);
            let io = conn.replace(Conn::new(Io::closed())).into_io();
            let tunnel = Tunnel { io, guard: None };
            return Ok((response.map(|()| Body::Empty), Some(tunnel)));
        }
        let lease = Lease {
            keep_alive,
            upload,
            pool: Rc::downgrade(pool),
        };
        let body = lease.body(conn, framing);
        Ok((response.map(|()| body), None))
    }
}

// === impl Lease ===

impl Lease {
    /// The body that is framed so; the lease ends with it.
    fn body(self, conn: Shared, framing: ResponseFraming) -> Body {
        let decoder = match framing {
            ResponseFraming::Length(0) => {
                self.give_back(&conn);
                return Body::Empty;
            }
            ResponseFraming::Length(len) => Decoder::Length(len),
            ResponseFraming::Chunked => Decoder::Chunked(Chunk::Size),
            ResponseFraming::UntilClose => Decoder::UntilClose,
        };
        conn.borrow_mut().decoder = decoder;
        Body::H1(Incoming::of_response(&conn, self))
    }

    pub(super) fn give_back(self, conn: &Shared) {
        drop(self.upload);
        let reusable = {
            let mut conn = conn.borrow_mut();
            conn.release();
            self.keep_alive && conn.sent && conn.read.is_empty() && conn.decoder.is_done()
        };
        if reusable {
            // The body that gave it back keeps a reference, but the decoder is done: it never
            // touches the socket again.
            let fresh = conn.replace(Conn::new(Io::closed()));
            if let Some(pool) = self.pool.upgrade() {
                pool.put(Client::on(fresh));
            }
        }
    }
}

/// Writes the head and as much of the body as is there; the rest is written by a task.
async fn start(conn: &Shared, request: Request<Body>) -> (Request<()>, Option<Owned>) {
    let encoder = {
        let mut conn = conn.borrow_mut();
        conn.sent = false;
        encode::request(&request, conn.out.head())
    };
    let (head, body) = request.into_parts();
    let mut upload = Upload {
        conn: Rc::clone(conn),
        body,
        encoder,
    };
    let started = std::future::poll_fn(|cx| Poll::Ready(upload.poll(cx))).await;
    let task = started
        .is_pending()
        .then(|| Owned::spawn(async move { std::future::poll_fn(|cx| upload.poll(cx)).await }));
    (Request::from_parts(head, ()), task)
}

/// A request on its way out.
struct Upload {
    conn: Shared,
    body: Body,
    encoder: Encoder,
}

impl Upload {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let result = ready!(self.poll_write(cx));
        let mut conn = self.conn.borrow_mut();
        match result {
            Ok(()) => conn.sent = true,
            Err(error) => conn.send_error = Some(error),
        }
        if let Some(reader) = conn.reader.take() {
            reader.wake();
        }
        Poll::Ready(())
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        loop {
            if !self.conn.borrow().out.has_room() {
                ready!(self.conn.borrow_mut().poll_flush(cx))?;
            }
            let Poll::Ready(frame) = self.body.poll_frame(cx) else {
                ready!(self.conn.borrow_mut().poll_flush(cx))?;
                return Poll::Pending;
            };
            let mut conn = self.conn.borrow_mut();
            match frame {
                Some(frame) => self.encoder.frame(frame?, &mut conn.out)?,
                None => {
                    self.encoder.finish(&mut conn.out)?;
                    // Should the flush not end now, the next poll finds the body ended again.
                    self.encoder = Encoder::None;
                    ready!(conn.poll_flush(cx))?;
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

/// Waits for the last head; those before it are passed on. `unsent` is the request, should it be
/// possible to send it again.
async fn final_head(
    conn: &Shared,
    method: &Method,
    mut unsent: Option<Box<Request<Body>>>,
    interim: &Interim,
) -> Result<ResponseHead, SendError> {
    loop {
        let head = match response_head(conn, method).await {
            Ok(head) => head,
            Err(error) => {
                let began = !conn.borrow().read.is_empty();
                return Err(match (error, unsent.take()) {
                    (SendError::Closed | SendError::Io(_), Some(request)) if !began => {
                        SendError::Unanswered(request)
                    }
                    (error, _) => error,
                });
            }
        };
        unsent = None;
        let status = head.response.status();
        if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(head);
        }
        // A 100 was answered here already, when the body was first wanted.
        if status != StatusCode::CONTINUE {
            interim.send(head.response);
        }
    }
}

/// Waits for a head, whatever becomes of the request's body meanwhile: a server may answer and
/// close without reading it.
async fn response_head(conn: &Shared, method: &Method) -> Result<ResponseHead, SendError> {
    let mut arrival = Arrival::default();
    std::future::poll_fn(|cx| {
        loop {
            let mut conn = conn.borrow_mut();
            if arrival.is_due(&mut conn.read) {
                match parse_response(&mut conn.read, method) {
                    Ok(Some(head)) => return Poll::Ready(Ok(head)),
                    Ok(None) => {}
                    Err(reason) => return Poll::Ready(Err(SendError::Malformed(reason))),
                }
            }
            let read = conn.poll_read_idle(cx);
            let failed = match read {
                Poll::Ready(Ok(0)) => SendError::Closed,
                Poll::Ready(Ok(_)) => continue,
                Poll::Ready(Err(error)) => error.into(),
                Poll::Pending => {
                    conn.reader = Some(cx.waker().clone());
                    match conn.send_error.take() {
                        Some(error @ BodyError::Io(_)) => {
                            // The server does not read on; it may still answer.
                            conn.send_error = Some(error);
                            return Poll::Pending;
                        }
                        Some(error) => SendError::Request(error),
                        None => return Poll::Pending,
                    }
                }
            };
            return Poll::Ready(Err(failed));
        }
    })
    .await
}

fn is_tunnel(method: &Method, status: StatusCode) -> bool {
    status == StatusCode::SWITCHING_PROTOCOLS || (*method == Method::CONNECT && status.is_success())
}
