//! HTTP/2 with prior knowledge on the server side.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{Request, Response};
use tokio::task::JoinSet;

use super::App;
use super::attempt::{Attempt, Start};
use super::connections::Connection;
use super::grpc;
use super::ledger::Outcome;
use super::reply::{Body, Reply};
use super::steering::{Continue, Cut, Steering};
use crate::clock::pause;
use crate::h2io;
use crate::http1::{Fields, Inbound};
use crate::replay::Replay;
use crate::transport::Boxed;

/// Streams that a client may have open at once.
const STREAMS: u32 = 1000;

/// Serves streams until the connection ends; when draining, GOAWAY and then what is in progress.
pub async fn serve(app: Arc<App>, inbound: Inbound<Boxed>, connection: Connection) {
    let (io, ahead) = inbound.into_parts();
    let handshake = h2::server::Builder::new()
        .initial_window_size(h2io::STREAM_WINDOW_BYTES)
        .initial_connection_window_size(h2io::CONNECTION_WINDOW_BYTES)
        .max_header_list_size(h2io::HEADER_LIST_LIMIT_BYTES)
        .max_concurrent_streams(STREAMS)
        .handshake::<_, Bytes>(Replay::new(io, ahead))
        .await;
    let mut server = match handshake {
        Ok(server) => server,
        Err(error) => return connection.ends(error.to_string()),
    };
    let connection = Arc::new(connection);
    let mut streams = JoinSet::new();
    let mut drained = pin!(app.drained());
    let mut draining = false;
    loop {
        tokio::select! {
            () = &mut drained, if !draining => {
                draining = true;
                server.graceful_shutdown();
            }
            Some(_) = streams.join_next() => {}
            accepted = server.accept() => match accepted {
                Some(Ok((request, respond))) => {
                    streams.spawn(exchange(app.clone(), connection.clone(), request, respond));
                }
                Some(Err(error)) => {
                    connection.ends(error.to_string());
                    break;
                }
                None => {
                    connection.ends(if draining { "drained" } else { "closed by the peer" });
                    break;
                }
            }
        }
    }
    while streams.join_next().await.is_some() {}
}

/// What a handler of one stream works on.
pub(super) struct Exchange {
    pub(super) steering: Steering,
    pub(super) body: RecvStream,
    pub(super) respond: SendResponse<Bytes>,
    pub(super) head: bool,
}

async fn exchange(
    app: Arc<App>,
    connection: Arc<Connection>,
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
) {
    let (parts, body) = request.into_parts();
    let fields = h2io::fields(&parts.headers);
    let start = Start {
        protocol: "HTTP/2.0",
        method: parts.method.as_str(),
        target: parts
            .uri
            .path_and_query()
            .map_or("", |target| target.as_str()),
        authority: parts.uri.authority().map(http::uri::Authority::as_str),
        scheme: parts.uri.scheme_str(),
    };
    let is_grpc = grpc::is_grpc(&fields);
    let mut attempt = Attempt::begin(&app, &connection, start, fields.clone());
    let steering = app.steering().with_fields(&fields);
    let mut exchange = Exchange {
        steering: steering.clone().unwrap_or_default(),
        body,
        respond,
        head: parts.method == http::Method::HEAD,
    };
    let result = match steering {
        Ok(_) if is_grpc => grpc::answer(&app, &mut exchange, &mut attempt).await,
        Ok(_) => answer(&app, &mut exchange, &mut attempt).await,
        Err(why) => {
            attempt.note(&why);
            let reply = Reply::refusal(&app, &attempt, 400, &why);
            send(&mut exchange, &mut attempt, reply).await
        }
    };
    match result {
        Ok(outcome) => attempt.finish(outcome),
        Err(error) => {
            attempt.note(error.to_string());
            attempt.finish(Outcome::Abandoned);
        }
    }
}

async fn answer(
    app: &Arc<App>,
    exchange: &mut Exchange,
    attempt: &mut Attempt,
) -> Result<Outcome, h2::Error> {
    for status in exchange.steering.interim.clone() {
        let mut interim = Response::new(());
        *interim.status_mut() = status_of(status);
        exchange.respond.send_informational(interim)?;
    }
    let rejected = exchange.steering.expectation == Continue::Reject;
    if !exchange.steering.ignore_body && !exchange.steering.echo && !rejected {
        while let Some(piece) = read(exchange).await? {
            attempt.received(&piece);
        }
        attempt.trailers(h2io::trailers(&mut exchange.body).await?);
    }
    wait(exchange).await?;
    if exchange.steering.reset == Some(Cut::Request) {
        exchange.respond.send_reset(reason_of(&exchange.steering));
        return Ok(Outcome::Steered);
    }
    let mut reply = Reply::to(app, &exchange.steering, attempt);
    if rejected {
        reply.status = 417;
    }
    send(exchange, attempt, reply).await
}

/// The next piece of the request body, no faster than steered.
pub(super) async fn read(exchange: &mut Exchange) -> Result<Option<Bytes>, h2::Error> {
    let Some(piece) = h2io::receive(&mut exchange.body).await.transpose()? else {
        return Ok(None);
    };
    if let Some(rate) = exchange.steering.read_rate {
        tokio::time::sleep(Duration::from_secs_f64(piece.len() as f64 / rate as f64)).await;
    }
    Ok(Some(piece))
}

/// The steered delay; a stream that the peer resets meanwhile ends it.
pub(super) async fn wait(exchange: &mut Exchange) -> Result<(), h2::Error> {
    if exchange.steering.delay.is_zero() {
        return Ok(());
    }
    tokio::select! {
        () = tokio::time::sleep(exchange.steering.delay) => Ok(()),
        reason = poll_fn(|cx| exchange.respond.poll_reset(cx)) => Err(reason?.into()),
    }
}

async fn send(
    exchange: &mut Exchange,
    attempt: &mut Attempt,
    reply: Reply,
) -> Result<Outcome, h2::Error> {
    let steering = exchange.steering.clone();
    let bodyless = exchange.head || reply.status == 204 || reply.status == 304;
    let mut fields = reply.fields.clone();
    if let (Some(length), false) = (reply.length(), reply.status == 204 || reply.status == 304)
        && !steering.trailers
    {
        fields.push(("content-length".into(), length.to_string()));
    }
    attempt.responds(Some(reply.status));
    let mut stream = respond(exchange, reply.status, &fields, bodyless)?;
    if bodyless {
        return Ok(Outcome::Complete);
    }
    if cut(&steering, Cut::Headers) {
        stream.send_reset(reason_of(&steering));
        return Ok(Outcome::Steered);
    }
    let half = reply.length().unwrap_or(0) / 2;
    match reply.body {
        Body::Echo => {
            while let Some(piece) = read(exchange).await? {
                attempt.received(&piece);
                h2io::send(&mut stream, piece.clone()).await?;
                attempt.sent(&piece);
            }
            attempt.trailers(h2io::trailers(&mut exchange.body).await?);
        }
        body => {
            let mut sent = 0;
            for piece in body.pieces() {
                pause(steering.pace).await;
                let steered = cut(&steering, Cut::Body);
                let piece = if steered {
                    piece.slice(..piece.len().div_ceil(2))
                } else {
                    piece
                };
                h2io::send(&mut stream, piece.clone()).await?;
                attempt.sent(&piece);
                sent += piece.len() as u64;
                if steered && sent >= half {
                    stream.send_reset(reason_of(&steering));
                    return Ok(Outcome::Steered);
                }
            }
        }
    }
    if steering.trailers {
        let trailers = vec![
            ("x-meshmark-sha256".to_owned(), attempt.sent_sha256()),
            ("x-meshmark-trailer".to_owned(), "1".to_owned()),
        ];
        send_trailers(&mut stream, &trailers)?;
    } else {
        stream.send_data(Bytes::new(), true)?;
    }
    Ok(Outcome::Complete)
}

/// Sends a response's head. Fields that HTTP/2 forbids are left out by name.
pub(super) fn respond(
    exchange: &mut Exchange,
    status: u16,
    fields: &Fields,
    last: bool,
) -> Result<SendStream<Bytes>, h2::Error> {
    let mut response = Response::new(());
    *response.status_mut() = status_of(status);
    *response.headers_mut() = h2io::map(fields).unwrap_or_default();
    exchange.respond.send_response(response, last)
}

/// Sends trailers and ends the stream.
pub(super) fn send_trailers(
    stream: &mut SendStream<Bytes>,
    trailers: &Fields,
) -> Result<(), h2::Error> {
    stream.send_trailers(h2io::map(trailers).unwrap_or_default())
}

/// Error code of a steered reset.
pub(super) fn reason_of(steering: &Steering) -> Reason {
    steering
        .reset_code
        .map_or(Reason::INTERNAL_ERROR, Reason::from)
}

/// Whether the response is cut at `place`; HTTP/2 has no way to end a stream early but a reset.
pub(super) fn cut(steering: &Steering, place: Cut) -> bool {
    steering.reset == Some(place) || steering.close == Some(place)
}

fn status_of(status: u16) -> http::StatusCode {
    // Steering takes 102 to 599 only, and refusals are constants.
    http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR)
}
