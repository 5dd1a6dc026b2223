//! HTTP/1 calls.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::Notify;

use super::dial::{Connection, Dialer};
use super::messages::Flow;
use super::outcome::{Interim, Progress};
use super::plan::Plan;
use super::stop::Stop;
use crate::clock::pause;
use crate::http1::{Error, Fields, Framing, Head, Inbound, Reader, head};
use crate::seeded::{Seeded, unhex};
use crate::serve::steering::{REQUEST_ID, STEERING};
use crate::transport::Boxed;

/// How long a client waits for `100 Continue` before it sends the body all the same.
const CONTINUE_WAIT: Duration = Duration::from_secs(1);

/// Connections that can be used again.
pub struct Pool {
    dialer: Arc<Dialer>,
    idle: Mutex<Vec<Connection>>,
    kept: usize,
}

impl Pool {
    /// A pool that keeps up to `kept` connections.
    pub fn new(dialer: Arc<Dialer>, kept: usize) -> Self {
        Self {
            dialer,
            idle: Mutex::default(),
            kept,
        }
    }

    /// A connection: one that is idle, or a new one.
    pub async fn take(&self, progress: &mut Progress) -> Option<Connection> {
        loop {
            let Some(mut connection) = self.idle.lock().pop() else {
                break;
            };
            if connection.is_idle().await {
                return Some(connection);
            }
            self.dialer.ended("closed");
        }
        self.dialer.open(progress).await
    }

    fn give_back(&self, connection: Connection) {
        let mut idle = self.idle.lock();
        if idle.len() < self.kept {
            idle.push(connection);
        }
    }
}

/// Makes one call.
pub async fn call(plan: &Plan, pool: &Pool, stop: &Stop, progress: &mut Progress) {
    let Some(mut connection) = pool.take(progress).await else {
        return;
    };
    connection.carries(progress);
    let request = match Request::new(plan, progress) {
        Ok(request) => request,
        Err(why) => return progress.fail("malformed", why),
    };
    match exchange(plan, &request, &mut connection, stop, progress).await {
        Ok(true) => pool.give_back(connection),
        Ok(false) => {
            if head::has_token(&progress.outcome.headers, "connection", "close") {
                pool.dialer.ended("announced");
            }
        }
        Err(error) => progress.fail_h1(&error),
    }
}

/// A request as it goes over the wire.
struct Request {
    bytes: Vec<u8>,
    expects: bool,
}

impl Request {
    fn new(plan: &Plan, progress: &Progress) -> Result<Self, String> {
        if let Some(hex) = &plan.http1.raw_hex {
            let bytes = unhex(hex).ok_or("http1.raw_hex is not hex")?;
            return Ok(Self {
                bytes,
                expects: false,
            });
        }
        let (_, path) = plan.target()?;
        let version = plan.http1.version.as_deref().unwrap_or("1.1");
        let target = plan.http1.target.as_deref().unwrap_or(&path);
        let start = format!("{} {target} HTTP/{version}", plan.method);
        let bytes = head::render(&start, &fields(plan, progress)?);
        Ok(Self {
            bytes,
            expects: plan.http1.expect && plan.body.is_some(),
        })
    }
}

/// Fields of a request: `Host`, those of the plan, then what the plan implies.
pub fn fields(plan: &Plan, progress: &Progress) -> Result<Fields, String> {
    let mut fields = Fields::new();
    let given = |name: &str| head::first(&plan.headers, name).is_some();
    if !plan.http1.no_host && !given("host") {
        let host = match &plan.http1.host {
            Some(host) => host.clone(),
            None => plan.target()?.0,
        };
        fields.push(("Host".into(), host));
    }
    fields.extend(plan.headers.iter().cloned());
    if let Some(id) = &progress.outcome.id {
        fields.push((REQUEST_ID.into(), id.clone()));
    }
    if !plan.steer.is_empty() {
        fields.push((STEERING.into(), plan.steer.clone()));
    }
    if plan.http1.expect {
        fields.push(("Expect".into(), "100-continue".into()));
    }
    if let Some(token) = &plan.http1.upgrade {
        fields.push(("Connection".into(), "Upgrade".into()));
        fields.push(("Upgrade".into(), token.clone()));
    }
    match &plan.body {
        Some(body) if body.chunked || !plan.trailers.is_empty() => {
            if !given("transfer-encoding") {
                fields.push(("Transfer-Encoding".into(), "chunked".into()));
            }
            if !plan.trailers.is_empty() {
                let names: Vec<&str> = plan.trailers.iter().map(|(name, _)| &name[..]).collect();
                fields.push(("Trailer".into(), names.join(", ")));
            }
        }
        Some(body) if !given("content-length") => {
            fields.push(("Content-Length".into(), body.bytes.to_string()));
        }
        _ => {}
    }
    Ok(fields)
}

/// Sends and receives at once; whether the connection can be used again.
async fn exchange(
    plan: &Plan,
    request: &Request,
    connection: &mut Connection,
    stop: &Stop,
    progress: &mut Progress,
) -> Result<bool, Error> {
    let leave = Notify::new();
    let flow = progress.flow.clone();
    let reusable = {
        let mut sending = pin!(send(plan, request, &mut connection.writer, &leave, &flow));
        let mut receiving = pin!(receive(plan, &mut connection.inbound, &leave, progress));
        let mut sent = None;
        loop {
            tokio::select! {
                result = &mut sending, if sent.is_none() => sent = Some(result),
                received = &mut receiving => {
                    // The server may answer and close before it has read everything.
                    break received.map(|reusable| reusable && matches!(sent, Some(Ok(()))));
                }
            }
        }
    };
    let upgraded = progress.outcome.status == Some(101)
        || (plan.method == "CONNECT" && progress.outcome.status == Some(200));
    if reusable.is_ok() && upgraded {
        super::tcp::exchange(plan, connection, &[], stop, progress).await?;
        return Ok(false);
    }
    reusable
}

async fn send(
    plan: &Plan,
    request: &Request,
    writer: &mut WriteHalf<Boxed>,
    leave: &Notify,
    flow: &Flow,
) -> Result<(), Error> {
    writer.write_all(&request.bytes).await?;
    writer.flush().await?;
    if request.expects {
        // Without an answer the body goes out all the same (RFC 9110 section 10.1.1).
        let _ = tokio::time::timeout(CONTINUE_WAIT, leave.notified()).await;
    }
    if let Some(body) = plan.body.as_ref().filter(|_| plan.http1.raw_hex.is_none()) {
        let chunked = body.chunked || !plan.trailers.is_empty();
        for piece in Seeded::new(body.seed, body.bytes, body.block) {
            pause(Duration::from_millis(body.pace_ms)).await;
            if chunked {
                writer
                    .write_all(format!("{:x}\r\n", piece.len()).as_bytes())
                    .await?;
            }
            flow.sends(&piece);
            writer.write_all(&piece).await?;
            if chunked {
                writer.write_all(b"\r\n").await?;
            }
        }
        if chunked {
            writer.write_all(&head::render("0", &plan.trailers)).await?;
        }
    }
    writer.flush().await?;
    if plan.http1.half_close {
        writer.shutdown().await?;
    }
    Ok(())
}

async fn receive(
    plan: &Plan,
    inbound: &mut Inbound<ReadHalf<Boxed>>,
    leave: &Notify,
    progress: &mut Progress,
) -> Result<bool, Error> {
    let (head, minor, status) = loop {
        let head = Head::parse(&inbound.head().await?)?;
        let (minor, status) = head.response_status()?;
        if status >= 200 || status == 101 {
            break (head, minor, status);
        }
        if status == 100 {
            leave.notify_one();
        }
        progress.outcome.interim.push(Interim {
            status,
            headers: head.fields,
        });
    };
    progress.head();
    progress.outcome.version = Some(head.start[0].clone());
    progress.outcome.status = Some(status);
    let framing = Framing::of_response(&head.fields, minor, &plan.method, status)?;
    let mut keeps = framing != Framing::Close
        && status != 101
        && !plan.http1.half_close
        && plan.http1.raw_hex.is_none()
        && match minor {
            0 => head::has_token(&head.fields, "connection", "keep-alive"),
            _ => !head::has_token(&head.fields, "connection", "close"),
        };
    progress.fields(head.fields);
    let mut reader = Reader::new(framing);
    while let Some(piece) = reader.next(inbound).await? {
        progress.received(&piece);
        plan.slow_down(piece.len()).await;
    }
    progress.trailers(reader.trailers().clone());
    if framing == Framing::Close {
        progress.outcome.end = Some("fin");
        keeps = false;
    }
    Ok(keeps)
}
