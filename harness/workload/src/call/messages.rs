//! Sending a plan's messages: how many, how fast, and whether to wait for their echo.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::plan::Messages;
use super::stop::Stop;
use crate::clock::pause;
use crate::seeded::{BLOCK_BYTES, Seeded, Tally, unhex};

/// What a call has sent, and how much of it came back; shared by its two halves.
#[derive(Clone, Default)]
pub struct Flow(Arc<State>);

#[derive(Default)]
struct State {
    counts: Mutex<Counts>,
    changed: Notify,
}

#[derive(Default)]
struct Counts {
    sent: Tally,
    messages_sent: u64,
    received_bytes: u64,
    messages_received: u64,
}

impl Flow {
    /// Counts what is about to be sent, so that its echo never looks like more than was sent.
    pub fn sends(&self, data: &[u8]) {
        self.0.counts.lock().sent.add(data);
    }

    /// Counts received bytes and whole messages.
    pub fn received(&self, bytes: usize, messages: u64) {
        let mut counts = self.0.counts.lock();
        counts.received_bytes += bytes as u64;
        counts.messages_received += messages;
        self.0.changed.notify_one();
    }

    /// Returns once as many bytes came back as were sent. One caller may wait at a time.
    pub async fn echoed(&self) {
        loop {
            {
                let counts = self.0.counts.lock();
                if counts.received_bytes >= counts.sent.bytes() {
                    return;
                }
            }
            self.0.changed.notified().await;
        }
    }

    /// What was sent.
    pub fn sent(&self) -> Tally {
        self.0.counts.lock().sent.clone()
    }

    /// Messages sent and received.
    pub fn messages(&self) -> (u64, u64) {
        let counts = self.0.counts.lock();
        (counts.messages_sent, counts.messages_received)
    }
}

/// What one message consists of.
pub enum Message {
    /// Bytes made from a seed.
    Made(Seeded, u64),
    /// These bytes.
    Given(Bytes),
}

impl Message {
    fn of(plan: &Messages, number: u64) -> Self {
        // A plan was checked for hex when it was read.
        match plan.payload_hex.as_deref().and_then(unhex) {
            Some(payload) => Self::Given(payload.into()),
            None => {
                let seed = plan.seed.wrapping_add(number);
                Self::Made(Seeded::new(seed, plan.bytes, BLOCK_BYTES), plan.bytes)
            }
        }
    }

    /// Its length in bytes.
    pub fn length(&self) -> u64 {
        match self {
            Self::Made(_, length) => *length,
            Self::Given(bytes) => bytes.len() as u64,
        }
    }

    /// Its bytes, piece by piece.
    pub fn pieces(self) -> Box<dyn Iterator<Item = Bytes> + Send> {
        match self {
            Self::Made(seeded, _) => Box::new(seeded),
            Self::Given(bytes) => Box::new(std::iter::once(bytes)),
        }
    }
}

/// Where messages go.
pub trait Sink {
    /// Sends one message.
    fn message(&mut self, message: Message)
    -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Why a message could not be sent.
    type Error;
}

/// Sends messages until all are sent or the plan is stopped.
pub async fn pump<S: Sink>(
    messages: &Messages,
    stop: &Stop,
    flow: &Flow,
    sink: &mut S,
) -> Result<(), S::Error> {
    let mut sent = 0;
    while (messages.count == 0 || sent < messages.count) && !stop.is_set() {
        if sent > 0 {
            tokio::select! {
                () = pause(Duration::from_millis(messages.pace_ms)) => {}
                () = stop.wait() => break,
            }
        }
        sink.message(Message::of(messages, sent)).await?;
        sent += 1;
        flow.0.counts.lock().messages_sent = sent;
        if messages.lockstep {
            flow.echoed().await;
        }
    }
    Ok(())
}
