//! HTTP/1.0 and HTTP/1.1 on the server side.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncWriteExt;

use super::App;
use super::attempt::{Attempt, Start};
use super::connections::Connection;
use super::ledger::Outcome;
use super::reply::{Body, Reply, marks};
use super::steering::{Continue, Cut, Delimiting, Steering};
use super::websocket;
use crate::clock::pause;
use crate::http1::{Error, Fields, Framing, Head, Inbound, Reader, head};
use crate::transport::Boxed;

type Input = Inbound<Boxed>;

/// What becomes of the connection after a request.
enum Next {
    Keep,
    Close(&'static str),
    Reset,
}

/// One request that was read up to its body.
struct Request {
    head: Head,
    minor: u8,
    reader: Reader,
    steering: Steering,
}

/// Serves requests one after another until the connection ends.
pub async fn serve(app: Arc<App>, mut inbound: Input, connection: Connection) {
    loop {
        let head = tokio::select! {
            head = inbound.head() => head,
            () = app.drained(), if inbound.buffered().is_empty() => {
                connection.ends("drained");
                break;
            }
        };
        let next = match head {
            Ok(head) => exchange(&app, &mut inbound, &connection, &head).await,
            Err(Error::Closed) => Ok(Next::Close("closed by the peer")),
            Err(error) => refuse(&app, &mut inbound, &connection, &error).await,
        };
        match next {
            Ok(Next::Keep) => {}
            Ok(Next::Close(why)) => {
                connection.ends(why);
                break;
            }
            Ok(Next::Reset) => {
                connection.ends("reset as steered");
                inbound.io_mut().reset_on_close();
                return;
            }
            Err(error) => {
                connection.ends(error.to_string());
                return;
            }
        }
    }
    // The peer may have gone first.
    let _ = inbound.io_mut().shutdown().await;
}

async fn exchange(
    app: &Arc<App>,
    inbound: &mut Input,
    connection: &Connection,
    text: &[u8],
) -> Result<Next, Error> {
    let parsed = Head::parse(text).and_then(|head| {
        let minor = head.request_version()?;
        let reader = Reader::new(Framing::of_request(&head.fields, minor)?);
        Ok((head, minor, reader))
    });
    let (head, minor, reader) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => return refuse_text(app, inbound, connection, text, &error).await,
    };
    let start = Start {
        protocol: if minor == 1 { "HTTP/1.1" } else { "HTTP/1.0" },
        method: &head.start[0],
        target: &head.start[1],
        authority: None,
        scheme: None,
    };
    let mut attempt = Attempt::begin(app, connection, start, head.fields.clone());
    let mut request = match app.steering().with_fields(&head.fields) {
        Ok(steering) => Request {
            head,
            minor,
            reader,
            steering,
        },
        Err(why) => {
            attempt.note(&why);
            let reply = Reply::refusal(app, &attempt, 400, &why);
            let mut request = Request {
                head,
                minor,
                reader,
                steering: Steering::default(),
            };
            request.steering.connection_close = true;
            send(app, inbound, &mut request, &mut attempt, reply).await?;
            attempt.finish(Outcome::Malformed);
            return Ok(Next::Close("unknown steering"));
        }
    };
    match answer(app, inbound, &mut request, &mut attempt).await {
        Ok((outcome, next)) => {
            attempt.finish(outcome);
            Ok(next)
        }
        Err(error) => {
            attempt.note(error.to_string());
            attempt.finish(match error {
                Error::Malformed(_) | Error::TooLong(..) => Outcome::Malformed,
                _ => Outcome::Abandoned,
            });
            Err(error)
        }
    }
}

async fn answer(
    app: &Arc<App>,
    inbound: &mut Input,
    request: &mut Request,
    attempt: &mut Attempt,
) -> Result<(Outcome, Next), Error> {
    let fields = &request.head.fields;
    let upgrades = head::has_token(fields, "connection", "upgrade");
    if upgrades && head::has_token(fields, "upgrade", "websocket") {
        return switch(app, inbound, request, attempt, true).await;
    }
    let tunnels = request.head.start[0] == "CONNECT";
    if tunnels || (request.steering.upgrade && upgrades) {
        return switch(app, inbound, request, attempt, false).await;
    }
    expectation(inbound, request).await?;
    for status in request.steering.interim.clone() {
        let link = vec![("link".to_owned(), "</style.css>; rel=preload".to_owned())];
        let start = format!("HTTP/1.1 {status} {}", reason(status));
        inbound
            .io_mut()
            .write_all(&head::render(&start, &link))
            .await?;
    }
    let rejected = request.steering.expectation == Continue::Reject;
    if !request.steering.ignore_body && !request.steering.echo && !rejected {
        while let Some(piece) = read(inbound, request).await? {
            attempt.received(&piece);
        }
        attempt.trailers(request.reader.trailers().clone());
    }
    wait(inbound, request.steering.delay).await?;
    if request.steering.reset == Some(Cut::Request) {
        return Ok((Outcome::Steered, Next::Reset));
    }
    if request.steering.close == Some(Cut::Request) {
        return Ok((Outcome::Steered, Next::Close("closed as steered")));
    }
    let mut reply = Reply::to(app, &request.steering, attempt);
    if rejected {
        reply.status = 417;
    }
    send(app, inbound, request, attempt, reply).await
}

/// `100 Continue`, when the client waits for it (RFC 9110 section 10.1.1).
async fn expectation(inbound: &mut Input, request: &Request) -> Result<(), Error> {
    let expects = head::has_token(&request.head.fields, "expect", "100-continue");
    let sends = request.steering.expectation == Continue::Send;
    if expects && sends && request.minor == 1 && !request.reader.is_done() {
        inbound
            .io_mut()
            .write_all(b"HTTP/1.1 100 Continue\r\n\r\n")
            .await?;
    }
    Ok(())
}

async fn read(inbound: &mut Input, request: &mut Request) -> Result<Option<Bytes>, Error> {
    let piece = request.reader.next(inbound).await?;
    if let (Some(piece), Some(rate)) = (&piece, request.steering.read_rate) {
        tokio::time::sleep(Duration::from_secs_f64(piece.len() as f64 / rate as f64)).await;
    }
    Ok(piece)
}

/// Waits, but notices at once when the peer goes away meanwhile.
async fn wait(inbound: &mut Input, time: Duration) -> Result<(), Error> {
    if time.is_zero() {
        return Ok(());
    }
    let elapsed = tokio::time::sleep(time);
    tokio::pin!(elapsed);
    while inbound.buffered().len() < head::HEAD_LIMIT_BYTES {
        tokio::select! {
            () = &mut elapsed => return Ok(()),
            filled = inbound.fill() => if filled? == 0 { return Err(Error::Truncated("a response that was waited for")) }
        }
    }
    elapsed.await;
    Ok(())
}

async fn send(
    app: &Arc<App>,
    inbound: &mut Input,
    request: &mut Request,
    attempt: &mut Attempt,
    reply: Reply,
) -> Result<(Outcome, Next), Error> {
    let steering = request.steering.clone();
    let bodyless = request.head.start[0] == "HEAD" || reply.status == 204 || reply.status == 304;
    let mut delimiting = match (steering.delimiting, reply.length(), steering.trailers) {
        (Delimiting::Length, None, _) | (Delimiting::Length, _, true) => Delimiting::Chunked,
        (chosen, _, _) => chosen,
    };
    if delimiting == Delimiting::Chunked && request.minor == 0 {
        delimiting = Delimiting::Close;
    }
    let keep = keeps(app, request) && (bodyless || delimiting != Delimiting::Close);
    let mut fields = reply.fields.clone();
    frame(&mut fields, &reply, delimiting, bodyless);
    match (keep, request.minor) {
        (false, _) => add(&mut fields, "connection", "close"),
        (true, 0) => add(&mut fields, "connection", "keep-alive"),
        (true, _) => {}
    }
    if steering.trailers && delimiting == Delimiting::Chunked {
        fields.push((
            "trailer".into(),
            "x-meshmark-sha256, x-meshmark-trailer".into(),
        ));
    }
    let start = format!(
        "HTTP/1.{} {} {}",
        request.minor,
        reply.status,
        reason(reply.status)
    );
    attempt.responds(Some(reply.status));
    let head = head::render(&start, &fields);
    if let Some(next) = cut(&steering, Cut::Headers) {
        inbound.io_mut().write_all(&head).await?;
        inbound.io_mut().flush().await?;
        return Ok((Outcome::Steered, next));
    }
    let sender = Sender {
        chunked: delimiting == Delimiting::Chunked,
        steering: &steering,
    };
    if bodyless {
        inbound.io_mut().write_all(&head).await?;
    } else if let Some(next) = sender.body(inbound, request, attempt, reply, head).await? {
        return Ok((Outcome::Steered, next));
    }
    inbound.io_mut().flush().await?;
    // A body that was not read cannot be told from the next request.
    match keep && request.reader.is_done() {
        true => Ok((Outcome::Complete, Next::Keep)),
        false => Ok((Outcome::Complete, Next::Close("closed after the response"))),
    }
}

struct Sender<'a> {
    chunked: bool,
    steering: &'a Steering,
}

impl Sender<'_> {
    /// Sends head and body; `Some` when the body was cut as steered.
    async fn body(
        &self,
        inbound: &mut Input,
        request: &mut Request,
        attempt: &mut Attempt,
        reply: Reply,
        head: Vec<u8>,
    ) -> Result<Option<Next>, Error> {
        let half = reply.length().unwrap_or(0) / 2;
        let mut head = Some(head);
        match reply.body {
            Body::Echo => {
                inbound
                    .io_mut()
                    .write_all(&head.take().unwrap_or_default())
                    .await?;
                while let Some(piece) = read(inbound, request).await? {
                    attempt.received(&piece);
                    self.piece(inbound, attempt, &piece, None).await?;
                }
                attempt.trailers(request.reader.trailers().clone());
            }
            body => {
                let mut sent = 0;
                for piece in body.pieces() {
                    if let Some(next) = cut(self.steering, Cut::Body).filter(|_| sent >= half) {
                        return Ok(Some(next));
                    }
                    let steered = self.steering.reset.or(self.steering.close) == Some(Cut::Body);
                    let piece = match steered {
                        true => piece.slice(..piece.len().div_ceil(2)),
                        false => piece,
                    };
                    sent += piece.len() as u64;
                    self.piece(inbound, attempt, &piece, head.take()).await?;
                    if let Some(next) = cut(self.steering, Cut::Body).filter(|_| sent >= half) {
                        return Ok(Some(next));
                    }
                }
            }
        }
        let mut end = head.take().unwrap_or_default();
        if self.chunked {
            end.extend_from_slice(b"0\r\n");
            if self.steering.trailers {
                let hash = attempt.sent_sha256();
                end.extend_from_slice(format!("x-meshmark-sha256: {hash}\r\n").as_bytes());
                end.extend_from_slice(b"x-meshmark-trailer: 1\r\n");
            }
            end.extend_from_slice(b"\r\n");
        }
        inbound.io_mut().write_all(&end).await?;
        Ok(None)
    }

    /// Sends one piece, after `before`, in one write where it is small.
    async fn piece(
        &self,
        inbound: &mut Input,
        attempt: &mut Attempt,
        piece: &[u8],
        before: Option<Vec<u8>>,
    ) -> Result<(), Error> {
        pause(self.steering.pace).await;
        let mut out = before.unwrap_or_default();
        if self.chunked {
            out.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        }
        out.extend_from_slice(piece);
        if self.chunked {
            out.extend_from_slice(b"\r\n");
        }
        inbound.io_mut().write_all(&out).await?;
        attempt.sent(piece);
        Ok(())
    }
}

fn cut(steering: &Steering, place: Cut) -> Option<Next> {
    if steering.reset == Some(place) {
        return Some(Next::Reset);
    }
    (steering.close == Some(place)).then_some(Next::Close("closed as steered"))
}

/// Whether the connection may serve another request after this one.
fn keeps(app: &App, request: &Request) -> bool {
    let fields = &request.head.fields;
    let asked = match request.minor {
        0 => head::has_token(fields, "connection", "keep-alive"),
        _ => !head::has_token(fields, "connection", "close"),
    };
    asked && !request.steering.connection_close && !app.is_draining()
}

fn frame(fields: &mut Fields, reply: &Reply, delimiting: Delimiting, bodyless: bool) {
    match (delimiting, reply.length()) {
        (Delimiting::Length, Some(length))
            if reply.status != 204
            // A 304 or an answer to HEAD may state the length that a body would have had.
            && (!bodyless || reply.status != 304) =>
        {
            add(fields, "content-length", &length.to_string());
        }
        (Delimiting::Chunked, _) if !bodyless => add(fields, "transfer-encoding", "chunked"),
        _ => {}
    }
}

/// Adds a field unless the steering header already did.
fn add(fields: &mut Fields, name: &str, value: &str) {
    if head::first(fields, name).is_none() {
        fields.push((name.to_owned(), value.to_owned()));
    }
}

/// Leaves HTTP: echoes WebSocket messages or bytes until the peer ends.
async fn switch(
    app: &Arc<App>,
    inbound: &mut Input,
    request: &Request,
    attempt: &mut Attempt,
    websocket: bool,
) -> Result<(Outcome, Next), Error> {
    let mut fields = marks(app, attempt);
    let mut start = "HTTP/1.1 101 Switching Protocols".to_owned();
    let mut status = 101;
    if websocket {
        let key = head::first(&request.head.fields, "sec-websocket-key").unwrap_or_default();
        fields.push(("sec-websocket-accept".into(), websocket::accept_of(key)));
    }
    if request.head.start[0] == "CONNECT" {
        start = "HTTP/1.1 200 OK".to_owned();
        status = 200;
    } else {
        let token = head::first(&request.head.fields, "upgrade").unwrap_or_default();
        fields.push(("upgrade".into(), token.to_owned()));
        fields.push(("connection".into(), "upgrade".into()));
    }
    attempt.responds(Some(status));
    inbound
        .io_mut()
        .write_all(&head::render(&start, &fields))
        .await?;
    match websocket {
        true => websocket::echo(app, inbound, attempt).await?,
        false => {
            while let Some(piece) = inbound.some(u64::MAX).await? {
                attempt.received(&piece);
                inbound.io_mut().write_all(&piece).await?;
                attempt.sent(&piece);
            }
        }
    }
    Ok((Outcome::Complete, Next::Close("upgraded connection ended")))
}

/// Answers what is not a request, and leaves a record of it.
async fn refuse(
    app: &Arc<App>,
    inbound: &mut Input,
    connection: &Connection,
    error: &Error,
) -> Result<Next, Error> {
    let text = inbound.buffered()[..inbound.buffered().len().min(512)].to_vec();
    refuse_text(app, inbound, connection, &text, error).await
}

async fn refuse_text(
    app: &Arc<App>,
    inbound: &mut Input,
    connection: &Connection,
    text: &[u8],
    error: &Error,
) -> Result<Next, Error> {
    let line = head::latin1(&text[..text.len().min(512)]);
    let start = Start {
        protocol: "HTTP/1",
        method: "",
        target: &line,
        authority: None,
        scheme: None,
    };
    let mut attempt = Attempt::begin(app, connection, start, Fields::new());
    attempt.note(error.to_string());
    attempt.responds(Some(400));
    let body = format!("{error}\n");
    let fields = vec![
        ("content-length".to_owned(), body.len().to_string()),
        ("connection".to_owned(), "close".to_owned()),
    ];
    let mut message = head::render("HTTP/1.1 400 Bad Request", &fields);
    message.extend_from_slice(body.as_bytes());
    let written = inbound.io_mut().write_all(&message).await;
    attempt.finish(Outcome::Malformed);
    written?;
    Ok(Next::Close("malformed request"))
}

fn reason(status: u16) -> &'static str {
    http::StatusCode::from_u16(status)
        .ok()
        .and_then(|s| s.canonical_reason())
        .unwrap_or("Status")
}
