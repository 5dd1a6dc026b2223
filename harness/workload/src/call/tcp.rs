//! TCP calls, and bytes over upgraded HTTP/1 connections.

use std::pin::pin;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};

use super::dial::{Connection, Dialer};
use super::messages::{Flow, Message, Sink, pump};
use super::outcome::Progress;
use super::plan::Plan;
use super::stop::Stop;
use crate::clock::pause;
use crate::http1::{Error, Inbound};
use crate::seeded::BLOCK_BYTES;
use crate::serve::tcp::OPENING;
use crate::transport::Boxed;

/// Longest greeting of a server that speaks first.
const GREETING_LIMIT_BYTES: usize = 4096;

/// Makes one call over a connection of its own.
pub async fn call(plan: &Plan, dialer: &Dialer, stop: &Stop, progress: &mut Progress) {
    let Some(mut connection) = dialer.open(progress).await else {
        return;
    };
    connection.carries(progress);
    if let Err(error) = converse(plan, &mut connection, stop, progress).await {
        progress.fail_h1(&error);
    }
}

async fn converse(
    plan: &Plan,
    connection: &mut Connection,
    stop: &Stop,
    progress: &mut Progress,
) -> Result<(), Error> {
    if plan.tcp.greeted {
        let line = connection
            .inbound
            .line("a greeting", GREETING_LIMIT_BYTES)
            .await?;
        progress.head();
        progress.outcome.pod = String::from_utf8_lossy(&line)
            .strip_prefix("220 ")
            .and_then(|rest| rest.strip_suffix(" ready"))
            .map(str::to_owned);
    }
    let id = progress.outcome.id.clone();
    let opening = match id {
        Some(id) if !plan.tcp.bare => format!("{OPENING}{id} {}\n", plan.steer),
        _ => String::new(),
    };
    exchange(plan, connection, opening.as_bytes(), stop, progress).await
}

/// Sends the plan's messages as plain bytes and reads what comes back until the server ends.
pub async fn exchange(
    plan: &Plan,
    connection: &mut Connection,
    opening: &[u8],
    stop: &Stop,
    progress: &mut Progress,
) -> Result<(), Error> {
    let flow = progress.flow.clone();
    let mut bytes = Bytes {
        writer: &mut connection.writer,
        flow: &flow,
    };
    let sending = async {
        bytes.write(opening).await?;
        pump(&plan.messages, stop, &flow, &mut bytes).await?;
        if plan.tcp.keep_open {
            flow.echoed().await;
        }
        bytes.writer.shutdown().await
    };
    let mut sending = pin!(sending);
    let mut receiving = pin!(receive(plan, &mut connection.inbound, &flow, progress));
    let mut sent = false;
    loop {
        tokio::select! {
            // A failed send shows up again, with its cause, on the receiving side.
            _ = &mut sending, if !sent => sent = true,
            result = &mut receiving => return result,
        }
    }
}

struct Bytes<'a> {
    writer: &'a mut WriteHalf<Boxed>,
    flow: &'a Flow,
}

impl Bytes<'_> {
    async fn write(&mut self, data: &[u8]) -> std::io::Result<()> {
        self.flow.sends(data);
        self.writer.write_all(data).await?;
        self.writer.flush().await
    }
}

impl Sink for Bytes<'_> {
    type Error = std::io::Error;

    async fn message(&mut self, message: Message) -> std::io::Result<()> {
        for piece in message.pieces() {
            self.write(&piece).await?;
        }
        Ok(())
    }
}

async fn receive(
    plan: &Plan,
    inbound: &mut Inbound<ReadHalf<Boxed>>,
    flow: &Flow,
    progress: &mut Progress,
) -> Result<(), Error> {
    while let Some(piece) = inbound.some(u64::MAX).await? {
        if progress.outcome.head_after_ns.is_none() {
            progress.head();
        }
        progress.received(&piece);
        flow.received(piece.len(), 0);
        plan.slow_down(piece.len()).await;
    }
    progress.outcome.end = Some("fin");
    Ok(())
}

/// Bytes to send as they are, after a pause.
pub struct Step {
    /// The bytes.
    pub data: Vec<u8>,
    /// The pause before them.
    pub pause: Duration,
}

/// Sends bytes as they are and reads until the server ends or `limit` bytes came.
pub async fn raw(
    connection: &mut Connection,
    steps: &[Step],
    half_close: bool,
    limit: u64,
    progress: &mut Progress,
) -> Result<(), Error> {
    let flow = progress.flow.clone();
    let writer = &mut connection.writer;
    let sending = async {
        for step in steps {
            pause(step.pause).await;
            writer.write_all(&step.data).await?;
            writer.flush().await?;
            flow.sends(&step.data);
        }
        if half_close {
            writer.shutdown().await?;
        }
        Ok::<(), std::io::Error>(())
    };
    let inbound = &mut connection.inbound;
    let receiving = async {
        let mut buffer = vec![0; BLOCK_BYTES];
        while progress.received.bytes() < limit {
            let count = inbound.io_mut().read(&mut buffer).await?;
            if count == 0 {
                progress.outcome.end = Some("fin");
                break;
            }
            if progress.outcome.head_after_ns.is_none() {
                progress.head();
            }
            progress.received(&buffer[..count]);
        }
        Ok::<(), Error>(())
    };
    let mut sending = pin!(sending);
    let mut receiving = pin!(receiving);
    let mut sent = false;
    loop {
        tokio::select! {
            // A server may refuse early; what it said counts, not that it did not read everything.
            _ = &mut sending, if !sent => sent = true,
            result = &mut receiving => return result,
        }
    }
}

impl Plan {
    /// Waits as long as `read_rate` wants after `bytes` bytes.
    pub async fn slow_down(&self, bytes: usize) {
        if let Some(rate) = self.read_rate {
            let time = Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64);
            tokio::time::sleep(time).await;
        }
    }
}
