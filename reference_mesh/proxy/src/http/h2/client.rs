//! The client role: a connection that any number of requests share.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::task::Poll;

use ::http::{Request, Response};
use bytes::Bytes;
use h2::Reason;
use h2::client::{Connection, SendRequest};
use thiserror::Error;

use super::keep_alive::unanswered;
use super::send::Sending;
use super::{Incoming, KeepAlive, MAX_FORGOTTEN_STREAMS, Settings};
use crate::http::Interim;
use crate::http::body::Body;
use crate::http::task::{self, Owned};
use crate::transport::Io;

/// Streams that a peer is taken to allow until it says so (RFC 9113 6.5.2 recommends no fewer).
const ASSUMED_MAX_STREAMS: usize = 100;

/// A connection; clones share it.
#[derive(Clone)]
pub struct Client {
    send: SendRequest<Bytes>,
    closed: Rc<Cell<bool>>,
    streams: Rc<Cell<usize>>,
}

/// A request under way: its upload, and its place among the streams of its connection.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) upload: Option<Owned>,
    streams: Rc<Cell<usize>>,
}

/// Why there is no response.
#[derive(Debug, Error)]
pub enum SendError {
    /// The connection takes no more requests; this one was not sent.
    #[error("connection closed")]
    Unsent(Box<Request<Body>>),
    /// The request's own body broke off.
    #[error("malformed request body")]
    Request,
    /// The peer reset the stream; `REFUSED_STREAM` also when it went away without a look at it.
    #[error("stream reset: {0}")]
    Reset(Reason),
    /// The connection failed.
    #[error("{0}")]
    Connection(h2::Error),
}

// === impl Client ===

impl Client {
    /// Begins a connection on `io`. It is driven by a task, and ends when no request and no clone
    /// is left, or the peer does not answer a ping.
    ///
    /// # Errors
    /// When the preface cannot be written.
    pub async fn handshake(io: Io, settings: Settings) -> Result<Self, io::Error> {
        let mut builder = h2::client::Builder::new();
        builder
            .initial_window_size(settings.stream_window)
            .initial_connection_window_size(settings.connection_window)
            .max_frame_size(settings.max_frame)
            .max_header_list_size(settings.max_header_list)
            .max_send_buffer_size(settings.max_send_buffer)
            .data_frame_budget(settings.small_frames_budget())
            .initial_max_send_streams(ASSUMED_MAX_STREAMS)
            .max_concurrent_reset_streams(MAX_FORGOTTEN_STREAMS)
            // The peer was dialled, and serves others through here: what it may make us reset is
            // limited by what it is sent.
            .max_local_error_reset_streams(None)
            .enable_push(false);
        if let Some(max) = settings.max_reset_streams {
            builder.max_concurrent_reset_streams(max);
        }
        let handshake = builder.handshake::<_, Bytes>(io).await;
        let (send, connection) = handshake.map_err(io::Error::other)?;
        let closed = Rc::new(Cell::new(false));
        let streams = Rc::new(Cell::new(0));
        let driver = drive(
            connection,
            settings.keep_alive,
            Rc::clone(&streams),
            Rc::clone(&closed),
        );
        task::background(driver);
        Ok(Self {
            send,
            closed,
            streams,
        })
    }

    /// Whether the connection has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// Whether the peer takes another stream at once.
    pub(super) fn has_room(&self) -> bool {
        self.streams.get() < self.send.current_max_send_streams()
    }

    /// Whether that would be so with twice as many.
    pub(super) fn is_half_empty(&self) -> bool {
        self.streams.get() < self.send.current_max_send_streams() / 2
    }

    /// Whether no stream is open.
    pub(super) fn is_idle(&self) -> bool {
        self.streams.get() == 0
    }

    /// Streams that are open.
    pub(super) fn load(&self) -> usize {
        self.streams.get()
    }

    /// Sends `request` and returns the response once its head is there.
    ///
    /// # Errors
    /// [`SendError`]
    pub async fn send(
        &self,
        request: Request<Body>,
        interim: &Interim,
    ) -> Result<Response<Body>, SendError> {
        let mut send = self.send.clone();
        if std::future::poll_fn(|cx| send.poll_ready(cx))
            .await
            .is_err()
        {
            self.closed.set(true);
            return Err(SendError::Unsent(Box::new(request)));
        }
        let (head, body) = request.into_parts();
        let ends = body.is_end();
        let (mut response, stream) = send.send_request(Request::from_parts(head, ()), ends)?;
        let mut sent = Sent::begin(&self.streams);
        let mut broken = None;
        if !ends {
            let mut sending = Sending::new(body, stream);
            let started =
                std::future::poll_fn(|cx| Poll::Ready(sending.poll(cx, &mut |_| {}))).await;
            // A failure has reset the stream, and so reaches whoever waits for the response.
            let flag = broken.insert(Rc::new(Cell::new(false)));
            match started {
                Poll::Ready(_) => flag.set(sending.is_broken()),
                Poll::Pending => {
                    let flag = Rc::clone(flag);
                    sent.upload = Some(Owned::spawn(async move {
                        let _ = std::future::poll_fn(|cx| sending.poll(cx, &mut |_| {})).await;
                        flag.set(sending.is_broken());
                    }));
                }
            }
        }
        let response = std::future::poll_fn(|cx| {
            while let Poll::Ready(Some(Ok(informational))) = response.poll_informational(cx) {
                interim.send(informational);
            }
            std::pin::Pin::new(&mut response).poll(cx)
        })
        .await
        .map_err(|error| match &broken {
            Some(broken) if broken.get() => SendError::Request,
            _ => error.into(),
        })?;
        Ok(response.map(|recv| {
            if recv.is_end_stream() {
                Body::Empty
            } else {
                Body::H2(Incoming::new(recv, Some(sent)))
            }
        }))
    }
}

// === impl Sent ===

impl Sent {
    fn begin(streams: &Rc<Cell<usize>>) -> Self {
        streams.set(streams.get() + 1);
        Self {
            upload: None,
            streams: Rc::clone(streams),
        }
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        self.streams.set(self.streams.get() - 1);
    }
}

// === impl SendError ===

impl From<h2::Error> for SendError {
    fn from(error: h2::Error) -> Self {
        match error.reason() {
            // The peer has not looked at the stream, and never will (RFC 9113 6.8). To send it again
            // here would take a copy of every head; the client, which has it, may.
            Some(Reason::NO_ERROR) if error.is_go_away() && error.is_remote() => {
                Self::Reset(Reason::REFUSED_STREAM)
            }
            Some(reason) if error.is_reset() => Self::Reset(reason),
            _ => Self::Connection(error),
        }
    }
}

async fn drive(
    mut connection: Connection<Io, Bytes>,
    keep_alive: Option<KeepAlive>,
    streams: Rc<Cell<usize>>,
    closed: Rc<Cell<bool>>,
) {
    let pings = connection.ping_pong();
    tokio::select! {
        result = connection => if let Err(error) = result {
            tracing::debug!(%error, "HTTP/2 connection ended");
        },
        () = unanswered(pings, keep_alive, || streams.get() == 0) => {
            tracing::debug!("HTTP/2 peer does not answer pings");
        }
    }
    closed.set(true);
}
