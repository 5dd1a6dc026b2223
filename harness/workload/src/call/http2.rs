//! HTTP/2 and gRPC calls over connections with prior knowledge.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Buf, Bytes};
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{Request, Version};
use parking_lot::Mutex;
use tokio::task::JoinSet;

use super::dial::Dialer;
use super::messages::{Flow, Message, Sink, pump};
use super::outcome::{Interim, Phase, Progress};
use super::plan::{Plan, Protocol};
use super::stop::Stop;
use crate::clock::pause;
use crate::h2io;
use crate::http1::{Fields, head};
use crate::seeded::Seeded;
use crate::serve::grpc::prefix;
use crate::serve::steering::{REQUEST_ID, STEERING};

/// Path of a gRPC call whose URL has none.
const GRPC_PATH: &str = "/meshmark.Echo/Echo";

/// Connections of a plan, each used by many calls at once.
pub struct Pool {
    dialer: Arc<Dialer>,
    slots: Vec<tokio::sync::Mutex<Option<Session>>>,
    drivers: Mutex<JoinSet<()>>,
}

#[derive(Clone)]
struct Session {
    number: u64,
    local: SocketAddr,
    peer: SocketAddr,
    sender: SendRequest<Bytes>,
}

impl Pool {
    /// A pool of up to `kept` connections; with 0 each call has its own.
    pub fn new(dialer: Arc<Dialer>, kept: usize) -> Self {
        let slots = (0..kept).map(|_| tokio::sync::Mutex::default()).collect();
        Self {
            dialer,
            slots,
            drivers: Mutex::default(),
        }
    }

    /// A connection that takes a further stream. One that was told to go away is replaced: no
    /// request was sent on it, so this is no retry.
    async fn take(&self, progress: &mut Progress) -> Option<Session> {
        if self.slots.is_empty() {
            return self.open(progress).await;
        }
        let number = progress.outcome.n as usize % self.slots.len();
        let session = {
            let mut slot = self.slots[number].lock().await;
            let usable = match &mut *slot {
                Some(session) => match closing(&mut session.sender).await {
                    Some(error) => {
                        self.dialer.ended(if error.is_go_away() {
                            "goaway"
                        } else {
                            "closed"
                        });
                        false
                    }
                    None => true,
                },
                None => false,
            };
            if !usable {
                *slot = self.open(progress).await;
            }
            slot.clone()?
        };
        let Session { sender, .. } = session.clone();
        match sender.ready().await {
            Ok(sender) => Some(Session { sender, ..session }),
            Err(error) => {
                progress.fail_h2(&error);
                None
            }
        }
    }

    async fn open(&self, progress: &mut Progress) -> Option<Session> {
        let connection = self.dialer.open(progress).await?;
        connection.carries(progress);
        let (number, local, peer) = (connection.number, connection.local, connection.peer);
        let (read, _) = connection.inbound.into_parts();
        let handshake = h2::client::Builder::new()
            .initial_window_size(h2io::STREAM_WINDOW_BYTES)
            .initial_connection_window_size(h2io::CONNECTION_WINDOW_BYTES)
            .max_header_list_size(h2io::HEADER_LIST_LIMIT_BYTES)
            .enable_push(false)
            .handshake(read.unsplit(connection.writer))
            .await;
        match handshake {
            Ok((sender, driver)) => {
                let mut drivers = self.drivers.lock();
                while drivers.try_join_next().is_some() {}
                // How the connection ended is told by the calls on it.
                drivers.spawn(async move { drop(driver.await) });
                Some(Session {
                    number,
                    local,
                    peer,
                    sender,
                })
            }
            Err(error) => {
                progress.fail_h2(&error);
                None
            }
        }
    }
}

/// Why a connection takes no further streams. One at its limit of streams does, later.
async fn closing(sender: &mut SendRequest<Bytes>) -> Option<h2::Error> {
    poll_fn(|cx| match sender.poll_ready(cx) {
        Poll::Ready(Err(error)) => Poll::Ready(Some(error)),
        _ => Poll::Ready(None),
    })
    .await
}

/// Makes one call.
pub async fn call(plan: &Plan, pool: &Pool, stop: &Stop, progress: &mut Progress) {
    let Some(mut session) = pool.take(progress).await else {
        return;
    };
    progress.outcome.connection = session.number;
    progress.outcome.local = Some(session.local.to_string());
    progress.outcome.peer = Some(session.peer.to_string());
    progress.phase = Phase::Head;
    let request = match request(plan, progress) {
        Ok(request) => request,
        Err(why) => return progress.fail("malformed", why),
    };
    let bodyless = plan.protocol == Protocol::H2 && plan.body.is_none();
    match session.sender.send_request(request, bodyless) {
        Ok((response, stream)) => {
            if let Err(error) = exchange(plan, stop, response, stream, progress).await {
                progress.fail_h2(&error);
            } else if plan.protocol == Protocol::Grpc && progress.outcome.grpc_status.is_none() {
                progress.fail("malformed", "the response has no grpc-status");
            }
        }
        Err(error) => progress.fail_h2(&error),
    }
}

fn request(plan: &Plan, progress: &Progress) -> Result<Request<()>, String> {
    let (authority, mut path) = plan.target()?;
    let grpc = plan.protocol == Protocol::Grpc;
    if grpc && path == "/" {
        path = GRPC_PATH.to_owned();
    }
    let path = plan.http1.target.as_deref().unwrap_or(&path);
    let authority = plan.http1.host.as_deref().unwrap_or(&authority);
    let mut fields = plan.headers.clone();
    if grpc {
        for (name, value) in [("content-type", "application/grpc"), ("te", "trailers")] {
            if head::first(&fields, name).is_none() {
                fields.push((name.to_owned(), value.to_owned()));
            }
        }
    }
    if let Some(id) = &progress.outcome.id {
        fields.push((REQUEST_ID.to_owned(), id.clone()));
    }
    if !plan.steer.is_empty() {
        fields.push((STEERING.to_owned(), plan.steer.clone()));
    }
    let length = plan
        .body
        .as_ref()
        .filter(|body| !body.chunked && plan.trailers.is_empty());
    if let Some(body) = length.filter(|_| !grpc) {
        fields.push(("content-length".to_owned(), body.bytes.to_string()));
    }
    // A request without authority is one that came from HTTP/1.0, and is marked as such.
    let (uri, version) = match plan.http1.no_host {
        true => (path.to_owned(), Version::HTTP_11),
        false => (format!("http://{authority}{path}"), Version::HTTP_2),
    };
    let method = if grpc { "POST" } else { &plan.method };
    let mut request = Request::builder()
        .method(method)
        .uri(uri)
        .version(version)
        .body(())
        .map_err(|error| format!("request: {error}"))?;
    *request.headers_mut() = h2io::map(&fields)?;
    Ok(request)
}

/// Sends and receives at once.
async fn exchange(
    plan: &Plan,
    stop: &Stop,
    response: ResponseFuture,
    stream: SendStream<Bytes>,
    progress: &mut Progress,
) -> Result<(), h2::Error> {
    let flow = progress.flow.clone();
    let mut sending = pin!(send(plan, stop, &flow, stream));
    let mut receiving = pin!(receive(plan, &flow, response, progress));
    let mut sent = false;
    loop {
        tokio::select! {
            // A failed send shows up again, with its cause, on the receiving side.
            _ = &mut sending, if !sent => sent = true,
            result = &mut receiving => return result,
        }
    }
}

async fn send(
    plan: &Plan,
    stop: &Stop,
    flow: &Flow,
    stream: SendStream<Bytes>,
) -> Result<(), h2::Error> {
    let mut framed = Framed { stream, flow };
    if plan.protocol == Protocol::Grpc {
        pump(&plan.messages, stop, flow, &mut framed).await?;
        return framed.stream.send_data(Bytes::new(), true);
    }
    let Some(body) = &plan.body else {
        return Ok(());
    };
    for piece in Seeded::new(body.seed, body.bytes, body.block) {
        pause(Duration::from_millis(body.pace_ms)).await;
        framed.write(piece).await?;
    }
    match plan.trailers.is_empty() {
        true => framed.stream.send_data(Bytes::new(), true),
        false => framed
            .stream
            .send_trailers(h2io::map(&plan.trailers).unwrap_or_default()),
    }
}

/// Sends gRPC messages, and bytes.
struct Framed<'a> {
    stream: SendStream<Bytes>,
    flow: &'a Flow,
}

impl Framed<'_> {
    async fn write(&mut self, piece: Bytes) -> Result<(), h2::Error> {
        self.flow.sends(&piece);
        h2io::send(&mut self.stream, piece).await
    }
}

impl Sink for Framed<'_> {
    type Error = h2::Error;

    async fn message(&mut self, message: Message) -> Result<(), h2::Error> {
        self.write(prefix(message.length())).await?;
        for piece in message.pieces() {
            self.write(piece).await?;
        }
        Ok(())
    }
}

async fn receive(
    plan: &Plan,
    flow: &Flow,
    mut response: ResponseFuture,
    progress: &mut Progress,
) -> Result<(), h2::Error> {
    while let Some(interim) = poll_fn(|cx| response.poll_informational(cx)).await {
        let interim = interim?;
        let (status, headers) = (interim.status().as_u16(), h2io::fields(interim.headers()));
        progress.outcome.interim.push(Interim { status, headers });
    }
    let (parts, mut body) = response.await?.into_parts();
    progress.head();
    progress.outcome.version = Some("HTTP/2.0".to_owned());
    progress.outcome.status = Some(parts.status.as_u16());
    progress.fields(h2io::fields(&parts.headers));
    let mut messages = MessageCounter::default();
    while let Some(piece) = h2io::receive(&mut body).await.transpose()? {
        progress.received(&piece);
        let whole = if plan.protocol == Protocol::Grpc {
            messages.add(&piece)
        } else {
            0
        };
        flow.received(piece.len(), whole);
        plan.slow_down(piece.len()).await;
    }
    progress.trailers(end(&mut body).await?);
    Ok(())
}

async fn end(body: &mut RecvStream) -> Result<Fields, h2::Error> {
    h2io::trailers(body).await
}

/// Counts gRPC messages in a stream of bytes without keeping them.
#[derive(Default)]
struct MessageCounter {
    prefix: Vec<u8>,
    left: u64,
}

impl MessageCounter {
    /// How many messages end in `data`.
    fn add(&mut self, mut data: &[u8]) -> u64 {
        let mut whole = 0;
        while !data.is_empty() {
            if self.left > 0 {
                let count = self.left.min(data.len() as u64);
                data.advance(count as usize);
                self.left -= count;
                whole += u64::from(self.left == 0);
                continue;
            }
            self.prefix.push(data[0]);
            data.advance(1);
            if let [_, length @ ..] = &self.prefix[..]
                && let Ok(length) = <[u8; 4]>::try_from(length)
            {
                self.left = u64::from(u32::from_be_bytes(length));
                self.prefix.clear();
                whole += u64::from(self.left == 0);
            }
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_wherever_the_frames_end() {
        let mut wire = Vec::new();
        for length in [3u64, 0, 300] {
            wire.extend_from_slice(&prefix(length));
            wire.extend(vec![7; length as usize]);
        }
        for size in [1, 2, 7, 1000] {
            let mut counter = MessageCounter::default();
            assert_eq!(
                wire.chunks(size)
                    .map(|piece| counter.add(piece))
                    .sum::<u64>(),
                3
            );
        }
    }
}
