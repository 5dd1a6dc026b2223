//! Bytes as they are, over plain TCP, and what comes back.

use std::time::Duration;

use serde::Deserialize;

use crate::call::dial::Dialer;
use crate::call::outcome::{Outcome, Progress};
use crate::call::plan::KEEP_LIMIT_BYTES;
use crate::call::tcp::{Step, raw};
use crate::clock::unix_ns;
use crate::seeded::unhex;

/// What to send.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// `host:port` to dial.
    pub address: String,
    /// What to send, in order.
    #[serde(default)]
    pub steps: Vec<HexStep>,
    /// End the sending half afterwards.
    #[serde(default)]
    pub half_close: bool,
    /// Stop reading after so many bytes.
    #[serde(default = "unbounded")]
    pub limit_bytes: u64,
    /// Longest time for all of it, seconds; when it passes the report says `timeout`.
    #[serde(default = "five")]
    pub deadline_s: f64,
    /// Bytes of what comes back that the report carries.
    #[serde(default = "kept")]
    pub keep_bytes: usize,
}

/// Bytes after a pause.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HexStep {
    hex: String,
    #[serde(default)]
    pause_ms: u64,
}

/// Sends and reads; only an order that makes no sense is an error.
pub async fn run(order: &Order) -> Result<Outcome, String> {
    let steps = order
        .steps
        .iter()
        .map(|step| {
            let data = unhex(&step.hex).ok_or("steps: hex is not hex")?;
            Ok(Step {
                data,
                pause: Duration::from_millis(step.pause_ms),
            })
        })
        .collect::<Result<Vec<_>, &str>>()?;
    if !(order.deadline_s > 0.0 && order.deadline_s <= 600.0) {
        return Err("deadline_s: must be more than 0 and at most 600".into());
    }
    if order.keep_bytes > KEEP_LIMIT_BYTES {
        return Err(format!("keep_bytes: at most {KEEP_LIMIT_BYTES}"));
    }
    let deadline = Duration::from_secs_f64(order.deadline_s);
    let dialer = Dialer::to(order.address.clone(), deadline);
    let mut progress = Progress::begin(0, None, unix_ns(), order.keep_bytes);
    let exchange = async {
        let Some(mut connection) = dialer.open(&mut progress).await else {
            return;
        };
        connection.carries(&mut progress);
        let exchanged = raw(
            &mut connection,
            &steps,
            order.half_close,
            order.limit_bytes,
            &mut progress,
        );
        if let Err(error) = exchanged.await {
            progress.fail_h1(&error);
        }
    };
    if tokio::time::timeout(deadline, exchange).await.is_err() {
        progress.fail(
            "timeout",
            format!("the peer did not end within {} s", order.deadline_s),
        );
    }
    Ok(progress.end(false))
}

fn unbounded() -> u64 {
    u64::MAX
}

fn five() -> f64 {
    5.0
}

fn kept() -> usize {
    4096
}
