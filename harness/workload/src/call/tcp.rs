//! TCP calls, and bytes over upgraded HTTP/1 connections.

use std::pin::pin;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::Notify;

use super::dial::{Connection, Dialer};
use super::outcome::Progress;
use super::plan::Plan;
use super::stop::Stop;
use crate::http1::{Error, Inbound};
use crate::seeded::{BLOCK_BYTES, Seeded, Tally};
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
    let tally = Mutex::new(Tally::default());
    let echoed = Notify::new();
    let result = {
        let sender = Sender {
            plan,
            tally: &tally,
            echoed: &echoed,
            stop,
        };
        let mut sending = pin!(sender.run(&mut connection.writer, opening));
        let mut receiving = pin!(receive(
            plan,
            &mut connection.inbound,
            &tally,
            &echoed,
            progress
        ));
        let mut sent = None;
        loop {
            tokio::select! {
                result = &mut sending, if sent.is_none() => {
                    // A failed send shows up again, with its cause, on the receiving side.
                    sent = Some(result.unwrap_or(0));
                }
                result = &mut receiving => break result.map(|()| sent.unwrap_or(0)),
            }
        }
    };
    progress.sent(&tally.lock());
    progress.outcome.messages_sent = result?;
    Ok(())
}

struct Sender<'a> {
    plan: &'a Plan,
    tally: &'a Mutex<Tally>,
    echoed: &'a Notify,
    stop: &'a Stop,
}

impl Sender<'_> {
    /// Sends everything, then ends the sending half; gives back the number of messages.
    async fn run(&self, writer: &mut WriteHalf<Boxed>, opening: &[u8]) -> Result<u64, Error> {
        let messages = &self.plan.messages;
        self.write(writer, opening).await?;
        let mut sent = 0;
        while (messages.count == 0 || sent < messages.count) && !self.stop.is_set() {
            if sent > 0 {
                let pause = tokio::time::sleep(Duration::from_millis(messages.pace_ms));
                tokio::select! {
                    () = pause => {}
                    () = self.stop.wait() => break,
                }
            }
            let seed = messages.seed.wrapping_add(sent);
            for piece in Seeded::new(seed, messages.bytes, BLOCK_BYTES) {
                self.write(writer, &piece).await?;
            }
            sent += 1;
            if messages.lockstep {
                self.echoed.notified().await;
            }
        }
        if self.plan.tcp.keep_open {
            self.echoed.notified().await;
        }
        writer.shutdown().await?;
        Ok(sent)
    }

    async fn write(&self, writer: &mut WriteHalf<Boxed>, data: &[u8]) -> Result<(), Error> {
        // Counted before it is written, so that its echo never looks like more than was sent.
        self.tally.lock().add(data);
        writer.write_all(data).await?;
        writer.flush().await?;
        Ok(())
    }
}

async fn receive(
    plan: &Plan,
    inbound: &mut Inbound<ReadHalf<Boxed>>,
    sent: &Mutex<Tally>,
    echoed: &Notify,
    progress: &mut Progress,
) -> Result<(), Error> {
    loop {
        let piece = match inbound.some(u64::MAX).await {
            Ok(Some(piece)) => piece,
            Ok(None) => {
                progress.outcome.end = Some("fin");
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        if progress.outcome.head_after_ns.is_none() {
            progress.head();
        }
        progress.received(&piece);
        if progress.received.bytes() >= sent.lock().bytes() {
            echoed.notify_one();
        }
        if let Some(rate) = plan.read_rate {
            let time = Duration::from_secs_f64(piece.len() as f64 / rate.max(1) as f64);
            tokio::time::sleep(time).await;
        }
    }
}

/// Sends bytes as they are and reads until the server ends, `limit` bytes came, or time is up.
pub async fn raw(
    connection: &mut Connection,
    data: &[u8],
    half_close: bool,
    limit: u64,
    progress: &mut Progress,
) -> Result<(), Error> {
    let sending = async {
        connection.writer.write_all(data).await?;
        connection.writer.flush().await?;
        if half_close {
            connection.writer.shutdown().await?;
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
    // A server may refuse early; what it said counts, not that it did not read everything.
    let (_, received) = tokio::join!(sending, receiving);
    received
}
