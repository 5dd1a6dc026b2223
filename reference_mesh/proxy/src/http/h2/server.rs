//! The server role: streams of one connection, each in a task of the connection.

use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use ::http::header::CONTENT_LENGTH;
use ::http::{HeaderMap, Method, Request, Response, Version};
use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::keep_alive::unanswered;
use super::send::Sending;
use super::{Incoming, MAX_FORGOTTEN_STREAMS, Settings};
use crate::drain;
use crate::http::body::{Body, BodyError, Frame, Length};
use crate::http::{Interim, Observer, Reply, Service, headers};
use crate::mutants::{self, Mutant};
use crate::transport::Io;

/// Streams that a client may break the protocol on before its connection is closed. A connection
/// between proxies lives as long as their certificates, and `h2` takes for such a breach what comes
/// late on a stream that it has forgotten; its own limit is 1024.
const MAX_ERRORS: usize = 1 << 14;

/// How long the rest of a client's preface may take.
const PREFACE_LIMIT: Duration = Duration::from_secs(10);

/// Serves the streams that come on `io` until the client closes or the proxy has drained.
///
/// # Errors
/// When the connection breaks or the client breaks the protocol.
pub async fn serve<S: Service + 'static>(
    io: Io,
    service: Rc<S>,
    settings: Settings,
    drain: &mut drain::Watch,
) -> Result<(), h2::Error> {
    let mut builder = h2::server::Builder::new();
    builder
        .initial_window_size(settings.stream_window)
        .initial_connection_window_size(settings.connection_window)
        .max_concurrent_streams(settings.max_streams)
        .max_frame_size(settings.max_frame)
        .max_header_list_size(settings.max_header_list)
        .max_send_buffer_size(settings.max_send_buffer)
        .data_frame_budget(settings.small_frames_budget())
        .max_concurrent_reset_streams(MAX_FORGOTTEN_STREAMS)
        .max_local_error_reset_streams(Some(MAX_ERRORS));
    if let Some(max) = settings.max_reset_streams {
        builder.max_pending_accept_reset_streams(max);
    }
    let handshake = timeout(PREFACE_LIMIT, builder.handshake::<_, Bytes>(io));
    let mut connection = tokio::select! {
        // What has arrived before the drain is still served.
        biased;
        connected = handshake => match connected {
            Ok(connection) => connection?,
            Err(_) => {
                tracing::debug!("HTTP/2 client does not finish its preface");
                return Ok(());
            }
        },
        () = drain.signaled_to_idle() => return Ok(()),
    };
    let pings = connection.ping_pong();
    // A client that is gone is noticed by its pings alone: idle or not, it is asked.
    let mut gone = pin!(unanswered(pings, settings.keep_alive, || false));
    let mut streams = JoinSet::new();
    let mut draining = false;
    loop {
        tokio::select! {
            accepted = connection.accept() => match accepted {
                Some(Ok((request, respond))) => {
                    let service = Rc::clone(&service);
                    streams.spawn_local(async move { stream(request, respond, &*service).await });
                }
                Some(Err(error)) => return Err(error),
                None => return Ok(()),
            },
            Some(ended) = streams.join_next() => if !draining && matches!(ended, Ok(true)) {
                draining = true;
                connection.graceful_shutdown();
            },
            () = &mut gone => {
                tracing::debug!("HTTP/2 client does not answer pings");
                return Ok(());
            }
            () = drain.signaled(), if !draining => {
                draining = true;
                connection.graceful_shutdown();
            }
        }
    }
}

/// Answers one request. Whether the client is to look for another connection.
async fn stream<S: Service>(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    service: &S,
) -> bool {
    if is_without_path(&request) {
        if mutants::active(Mutant::PathlessHeld) {
            std::future::pending::<()>().await;
        }
        respond.send_reset(Reason::PROTOCOL_ERROR);
        return false;
    }
    let request = request.map(|recv| {
        if recv.is_end_stream() {
            Body::Empty
        } else {
            Body::H2(Incoming::new(recv, None))
        }
    });
    let interim = Interim::default();
    let Some(reply) = call(service.call(request, &interim), &interim, &mut respond).await else {
        return false;
    };
    let Reply {
        response,
        mut observer,
        close,
        ..
    } = reply;
    let (mut head, body) = response.into_parts();
    head.version = Version::HTTP_2;
    headers::strip_hop_by_hop(&mut head.headers);
    if let Length::Known(len) = body.length()
        && len > 0
        && !head.headers.contains_key(CONTENT_LENGTH)
    {
        head.headers.insert(CONTENT_LENGTH, len.into());
    }
    let ends = body.is_end();
    let sent = respond.send_response(Response::from_parts(head, ()), ends);
    let stream = match sent {
        Ok(stream) => stream,
        Err(error) => {
            observer.end(None, Some(&error.into()));
            return false;
        }
    };
    if ends {
        observer.end(None, None);
        return close;
    }
    let mut sending = Sending::new(body, stream);
    let mut trailers: Option<HeaderMap> = None;
    let result = std::future::poll_fn(|cx| {
        sending.poll(cx, &mut |frame| match frame {
            Frame::Data(data) => observer.data(data.len()),
            Frame::Trailers(map) => trailers = Some(map.clone()),
        })
    })
    .await;
    observer.end(trailers.as_ref(), result.as_ref().err());
    close
}

/// Whether `:path` is missing, which makes a request malformed (RFC 9113 8.3.1). h2 lets it through
/// where there is no `:authority` either, and it would become one for `/`.
fn is_without_path<B>(request: &Request<B>) -> bool {
    request.method() != Method::CONNECT && request.uri().path().is_empty()
}

/// Runs the service, passing on informational responses; none when the client reset the stream.
async fn call<O: Observer>(
    answer: impl Future<Output = Reply<O>>,
    interim: &Interim,
    respond: &mut SendResponse<Bytes>,
) -> Option<Reply<O>> {
    let mut answer = pin!(answer);
    let mut reply = std::future::poll_fn(|cx| {
        let reply = answer.as_mut().poll(cx);
        while let Some(mut response) = interim.take() {
            headers::strip_hop_by_hop(response.headers_mut());
            // A client that cannot be told this much is noticed below.
            let _ = respond.send_informational(response);
        }
        match reply {
            Poll::Ready(reply) => Poll::Ready(Some(reply)),
            Poll::Pending => respond.poll_reset(cx).map(|_| None),
        }
    })
    .await?;
    if let Some(reason) = reset_of(&reply) {
        respond.send_reset(reason);
        let error = BodyError::Reset(reason);
        reply.observer.end(None, Some(&error));
        return None;
    }
    Some(reply)
}

/// The reset that stands in place of a response, if the upstream sent one.
fn reset_of<O>(reply: &Reply<O>) -> Option<Reason> {
    reply
        .response
        .extensions()
        .get::<UpstreamReset>()
        .map(|reset| reset.0)
}

/// Put into a response's extensions: the upstream reset the stream before it answered. A client
/// that speaks HTTP/2 gets the same reset; others get the response.
#[derive(Clone, Copy, Debug)]
pub struct UpstreamReset(pub Reason);

#[cfg(test)]
mod tests;
