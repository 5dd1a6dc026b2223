//! The server role: requests of one connection, one after the other.

use std::cell::RefCell;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use ::http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Sleep, sleep};

use super::arrival::Arrival;
use super::conn::{Conn, Shared};
use super::decode::Decoder;
use super::encode::{self, Encoder};
use super::head::{Refusal, RequestHead, parse_request};
use super::incoming::Incoming;
use crate::drain;
use crate::http::body::{Body, BodyError, Frame, Length};
use crate::http::{Interim, Observer, Reply, Service};
use crate::mutants::{self, Mutant};
use crate::transport::{Io, copy};

/// How long a client gets to see why its connection ends: to read what was written before a body
/// broke, and to go on sending after a refusal (closing at once would reset the connection).
const LINGER: Duration = Duration::from_millis(500);

/// How long a head may take from its first byte to its last.
const HEAD_LIMIT: Duration = Duration::from_secs(30);

/// Bytes of such a client that are read and dropped.
const LINGER_BYTES: usize = 256 * 1024;

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// By agreement, or by the client.
    Normally,
    /// The client sent something that is not a request.
    Refused(Refusal),
}

/// What the client sent next.
#[expect(
    clippy::large_enum_variant,
    reason = "the large one is what requests make"
)]
enum Next {
    Request(RequestHead),
    Refused(Refusal),
    Closed,
}

/// Serves the requests that come on `io` until the client closes, a response asks for it, or the
/// proxy drains.
///
/// # Errors
/// When the client's connection breaks.
pub async fn serve<S: Service>(
    io: Io,
    service: &S,
    drain: &mut drain::Watch,
) -> io::Result<Closed> {
    let conn = Rc::new(RefCell::new(Conn::new(io)));
    let interim = Interim::default();
    // One wait for all requests, of which each would have to enter it among all that wait.
    let mut idle = drain.clone();
    let mut draining = pin!(idle.signaled_to_idle());
    loop {
        match next_request(&conn, draining.as_mut()).await? {
            Next::Closed => return Ok(Closed::Normally),
            Next::Refused(refusal) => {
                refuse(conn, refusal).await?;
                return Ok(Closed::Refused(refusal));
            }
            Next::Request(head) => {
                if !exchange(&conn, head, service, &interim, drain).await? {
                    close(conn).await;
                    return Ok(Closed::Normally);
                }
            }
        }
    }
}

/// Waits for a request; a draining proxy takes the one that has arrived, and waits no longer.
async fn next_request(
    conn: &Shared,
    mut draining: Pin<&mut impl Future<Output = ()>>,
) -> io::Result<Next> {
    // Made when a head has begun and not ended, which for most never happens.
    let mut limit: Option<Pin<Box<Sleep>>> = None;
    let mut arrival = Arrival::default();
    std::future::poll_fn(|cx| {
        loop {
            let mut conn = conn.borrow_mut();
            if arrival.is_due(&mut conn.read) {
                match parse_request(&mut conn.read) {
                    Ok(Some(head)) => return Poll::Ready(Ok(Next::Request(head))),
                    Ok(None) => {}
                    Err(refusal) => return Poll::Ready(Ok(Next::Refused(refusal))),
                }
            }
            if !conn.read.is_empty() {
                let limit = limit.get_or_insert_with(|| Box::pin(sleep(HEAD_LIMIT)));
                if limit.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Ok(Next::Refused(Refusal {
                        status: StatusCode::REQUEST_TIMEOUT,
                        reason: "request head took too long",
                    })));
                }
            }
            conn.release();
            match conn.poll_read_idle(cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Ok(Next::Closed)),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending if conn.read.is_empty() => {
                    return draining.as_mut().poll(cx).map(|()| Ok(Next::Closed));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await
}

/// Answers one request. Whether the connection can be used again.
async fn exchange<S: Service>(
    conn: &Shared,
    head: RequestHead,
    service: &S,
    interim: &Interim,
    drain: &drain::Watch,
) -> io::Result<bool> {
    let RequestHead {
        request,
        length,
        keep_alive,
        expects_continue,
    } = head;
    let (method, version) = (request.method().clone(), request.version());
    let request = begin(conn, request, length, expects_continue);
    let Some(reply) = call(conn, service.call(request, interim), interim, version).await? else {
        return Ok(false);
    };
    let Reply {
        response,
        mut observer,
        tunnel,
        close,
    } = reply;
    let keep_alive = keep_alive && !close && !drain.is_draining() && tunnel.is_none();
    let (encoder, keep_alive) = {
        let mut conn = conn.borrow_mut();
        // Of a body that is not here yet the rest may never be read. The head must say so: a client
        // that sends its next request would find the connection closed.
        let keep_alive = keep_alive && conn.decoder.is_done();
        // Whatever the client was promised, it now gets the final answer instead.
        conn.owes_continue = false;
        let out = conn.out.head();
        (
            encode::response(&response, &method, version, keep_alive, out),
            keep_alive,
        )
    };
    let closes = encoder == Encoder::UntilClose;
    if let Some(tunnel) = tunnel {
        flush(conn).await?;
        let io = take_io(conn);
        copy::duplex(io, tunnel.io).await?;
        observer.end(None, None);
        return Ok(false);
    }
    send_body(conn, response.into_body(), encoder, &mut observer).await?;
    Ok(keep_alive && !closes)
}

fn begin(
    conn: &Shared,
    head: Request<()>,
    length: Length,
    expects_continue: bool,
) -> Request<Body> {
    let decoder = Decoder::for_length(length);
    let body = if decoder.is_done() {
        Body::Empty
    } else {
        Body::H1(Incoming::of_request(conn))
    };
    let mut conn = conn.borrow_mut();
    conn.owes_continue = expects_continue && !decoder.is_done();
    conn.decoder = decoder;
    head.map(|()| body)
}

/// Runs the service, passing on informational responses; none when the client has gone.
async fn call<O>(
    conn: &Shared,
    answer: impl Future<Output = Reply<O>>,
    interim: &Interim,
    version: Version,
) -> io::Result<Option<Reply<O>>> {
    let mut answer = pin!(answer);
    std::future::poll_fn(|cx| {
        let reply = answer.as_mut().poll(cx);
        while let Some(response) = interim.take() {
            if version == Version::HTTP_11 {
                encode::informational(&response, conn.borrow_mut().out.head());
            }
        }
        if let Poll::Ready(reply) = reply {
            return Poll::Ready(Ok(Some(reply)));
        }
        let mut conn = conn.borrow_mut();
        if !conn.out.is_empty()
            && let Poll::Ready(Err(error)) = conn.poll_flush(cx)
        {
            return Poll::Ready(Err(error));
        }
        if is_client_gone(&mut conn, cx) {
            Poll::Ready(Ok(None))
        } else {
            Poll::Pending
        }
    })
    .await
}

/// Whether the client closed while its request is under way. What it sends early is kept.
///
/// A client that only ends its sending (`nc -N`) and still waits is taken for one that is gone: TCP
/// tells the two apart when something is written to them, and until there is an answer nothing is.
/// Whoever waits long (a poll, a stream of events) and goes would hold its upstream request for as
/// long. Clients that close early are many, those that half-close HTTP are few, and `hyper`, and
/// with it Linkerd's proxy, decides the same way.
fn is_client_gone(conn: &mut Conn, cx: &mut Context<'_>) -> bool {
    if !conn.decoder.is_done() {
        // Whoever reads the body hears from the socket, and tells this task at its end.
        conn.reader = Some(cx.waker().clone());
        return false;
    }
    conn.read.is_empty() && matches!(conn.poll_read_idle(cx), Poll::Ready(Ok(0) | Err(_)))
}

/// Writes the body, reporting to `observer`.
async fn send_body(
    conn: &Shared,
    mut body: Body,
    mut encoder: Encoder,
    observer: &mut impl Observer,
) -> io::Result<()> {
    let mut trailers: Option<HeaderMap> = None;
    let result = std::future::poll_fn(|cx| {
        loop {
            if !conn.borrow().out.has_room() {
                match conn.borrow_mut().poll_flush(cx) {
                    Poll::Ready(result) => result?,
                    Poll::Pending => return Poll::Pending,
                }
            }
            let frame = match body.poll_frame(cx) {
                Poll::Ready(frame) => frame,
                Poll::Pending => {
                    let mut conn = conn.borrow_mut();
                    if let Poll::Ready(Err(error)) = conn.poll_flush(cx) {
                        return Poll::Ready(Err(error.into()));
                    }
                    if is_client_gone(&mut conn, cx) {
                        return Poll::Ready(Err(BodyError::Reset(::h2::Reason::CANCEL)));
                    }
                    return Poll::Pending;
                }
            };
            let mut conn = conn.borrow_mut();
            match frame {
                None => return Poll::Ready(encoder.finish(&mut conn.out)),
                Some(Err(error)) => return Poll::Ready(Err(error)),
                Some(Ok(frame)) => {
                    match &frame {
                        Frame::Data(data) => observer.data(data.len()),
                        Frame::Trailers(map) => trailers = Some(map.clone()),
                    }
                    if let Err(error) = encoder.frame(frame, &mut conn.out) {
                        return Poll::Ready(Err(error));
                    }
                }
            }
        }
    })
    .await;
    observer.end(trailers.as_ref(), result.as_ref().err());
    match result {
        Ok(()) => flush(conn).await,
        // The client must not take what it got for the whole: the connection is cut short. But not
        // before it has the head: a close without one reads as "not processed", and is retried.
        Err(error) => {
            let _ = tokio::time::timeout(LINGER, flush(conn)).await;
            if encoder == Encoder::UntilClose {
                conn.borrow().io.reset_when_dropped();
            }
            Err(io::Error::other(error))
        }
    }
}

async fn flush(conn: &Shared) -> io::Result<()> {
    std::future::poll_fn(|cx| conn.borrow_mut().poll_flush(cx)).await
}

/// Answers a request that cannot be passed on, and closes.
async fn refuse(conn: Shared, refusal: Refusal) -> io::Result<()> {
    let body = Body::Full(refusal.reason.into());
    let mut response = Response::new(body);
    *response.status_mut() = refusal.status;
    {
        let mut conn = conn.borrow_mut();
        if mutants::active(Mutant::RefusedKept) {
            // What nobody looks at, the compiler does not make.
            std::hint::black_box(conn.read.to_vec().leak());
        }
        let out = conn.out.head();
        encode::response(&response, &Method::GET, Version::HTTP_11, false, out);
        conn.out.push(refusal.reason.as_bytes());
    }
    flush(&conn).await?;
    close(conn).await;
    Ok(())
}

/// Closes for writing, then reads a little more, so that the client gets to read the answer.
async fn close(conn: Shared) {
    let unread = !conn.borrow().decoder.is_done() || !conn.borrow().read.is_empty();
    let mut io = take_io(&conn);
    if io.shutdown().await.is_err() || !unread {
        return;
    }
    let discard = async {
        let mut buf = [0; 4096];
        let mut left = LINGER_BYTES;
        while left > 0 {
            match io.read(&mut buf).await {
                Ok(0) | Err(_) => return,
                Ok(len) => left = left.saturating_sub(len),
            }
        }
    };
    let _ = tokio::time::timeout(LINGER, discard).await;
}

/// The socket, out of the connection; a body that still refers to it finds an ended one.
fn take_io(conn: &Shared) -> Io {
    conn.replace(Conn::new(Io::closed())).into_io()
}

#[cfg(test)]
mod tests;
