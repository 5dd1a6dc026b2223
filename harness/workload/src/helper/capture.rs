//! Captures of what passes the pod's interfaces.
//!
//! A thread of its own reads the packet socket, so that a burst does not wait for the control port.
//! What the kernel had to drop is reported: a capture with drops proves no absence.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::packet::{Analyser, Findings};
use super::sys::{PacketSocket, Statistics};
use crate::control::Response;
use crate::seeded::unhex;

/// Captures at once.
const CAPTURES: usize = 8;

/// Patterns of one capture.
const PATTERNS: usize = 64;

/// Room for packets that wait in the kernel.
const RECEIVE_BUFFER_BYTES: usize = 32 << 20;

/// Longest packet that is read: more than segmentation offload makes.
const PACKET_BYTES: usize = 256 << 10;

/// How long the thread takes to notice that it should end.
const TURN: Duration = Duration::from_millis(20);

/// What to look for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// Patterns in hex.
    #[serde(default)]
    pub patterns_hex: Vec<String>,
    /// Interface; without it every one but the loopback.
    #[serde(default)]
    pub interface: Option<String>,
    /// Look at packets from or to these ports only.
    #[serde(default)]
    pub ports: Vec<u16>,
    /// Skip packets from or to these ports: the control ports, where the order itself passes.
    #[serde(default = "control_ports")]
    pub ignore_ports: Vec<u16>,
}

fn control_ports() -> Vec<u16> {
    vec![9900, 9901]
}

#[derive(Debug, Serialize)]
struct Report {
    #[serde(flatten)]
    findings: Findings,
    kernel_packets: u64,
    kernel_drops: u64,
    error: Option<String>,
}

/// Running captures.
#[derive(Default)]
pub struct Captures {
    running: Mutex<HashMap<u64, Capture>>,
    last: Mutex<u64>,
}

struct Capture {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    analyser: Mutex<Analyser>,
    kernel: Mutex<(u64, u64)>,
    error: Mutex<Option<String>>,
    stop: AtomicBool,
}

impl Captures {
    /// Starts a capture; packets count from the moment of the answer.
    pub fn start(&self, order: &Order) -> Result<Response, Response> {
        let bad = |why: String| Response::error(400, why);
        let patterns: Vec<Vec<u8>> = order
            .patterns_hex
            .iter()
            .map(|hex| {
                unhex(hex)
                    .filter(|pattern| (4..=4096).contains(&pattern.len()))
                    .ok_or_else(|| bad("patterns_hex: each 4 to 4096 bytes in hex".into()))
            })
            .collect::<Result<_, _>>()?;
        if patterns.len() > PATTERNS {
            return Err(bad(format!("patterns_hex: at most {PATTERNS}")));
        }
        let mut running = self.running.lock();
        if running.len() >= CAPTURES {
            return Err(Response::error(
                429,
                format!("{CAPTURES} captures run: end one first"),
            ));
        }
        let socket = PacketSocket::open(order.interface.as_deref(), RECEIVE_BUFFER_BYTES).map_err(
            |error| {
                let why = format!("packet socket: {error}; the container needs NET_RAW");
                Response::error(500, why)
            },
        )?;
        let analyser = Analyser::new(patterns, order.ignore_ports.clone(), order.ports.clone());
        let shared = Arc::new(Shared {
            analyser: Mutex::new(analyser),
            kernel: Mutex::default(),
            error: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let loopback = order.interface.is_some();
        let (worker, name) = (shared.clone(), "capture".to_owned());
        let thread = std::thread::Builder::new()
            .name(name)
            .spawn(move || worker.read(&socket, loopback))
            .map_err(|error| Response::error(500, format!("capture thread: {error}")))?;
        let mut last = self.last.lock();
        *last += 1;
        running.insert(
            *last,
            Capture {
                shared,
                thread: Some(thread),
            },
        );
        Ok(Response::with_status(201, &json!({"id": *last})))
    }

    /// What a running capture found so far.
    pub fn show(&self, id: &str) -> Response {
        let running = self.running.lock();
        match id.parse().ok().and_then(|id: u64| running.get(&id)) {
            Some(capture) => Response::json(&capture.shared.report()),
            None => Response::error(404, format!("no capture {id:?}")),
        }
    }

    /// Ends a capture and hands out what it found.
    pub fn end(&self, id: &str) -> Response {
        let taken = id
            .parse()
            .ok()
            .and_then(|id: u64| self.running.lock().remove(&id));
        match taken {
            Some(mut capture) => {
                capture.join();
                Response::json(&capture.shared.report())
            }
            None => Response::error(404, format!("no capture {id:?}")),
        }
    }
}

impl Capture {
    fn join(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            *self.shared.error.lock() = Some("the capture thread panicked".into());
        }
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.join();
    }
}

impl Shared {
    fn read(&self, socket: &PacketSocket, loopback: bool) {
        if let Err(error) = self.try_read(socket, loopback) {
            *self.error.lock() = Some(error.to_string());
        }
    }

    /// Reads until stopped, and then what was queued before.
    fn try_read(&self, socket: &PacketSocket, loopback: bool) -> std::io::Result<()> {
        let mut buffer = vec![0; PACKET_BYTES];
        loop {
            let last = self.stop.load(Ordering::Relaxed);
            if !last {
                socket.wait(TURN)?;
            }
            while let Some(seen) = socket.receive(&mut buffer)? {
                // The loopback shows each packet twice, and plaintext within the pod is no secret.
                if !seen.loopback || (loopback && seen.outgoing) {
                    self.analyser
                        .lock()
                        .look(&buffer[..seen.length], seen.outgoing);
                }
            }
            let Statistics { packets, drops } = socket.statistics()?;
            let mut kernel = self.kernel.lock();
            kernel.0 += u64::from(packets);
            kernel.1 += u64::from(drops);
            if last {
                return Ok(());
            }
        }
    }

    fn report(&self) -> Report {
        let (kernel_packets, kernel_drops) = *self.kernel.lock();
        Report {
            findings: self.analyser.lock().findings(),
            kernel_packets,
            kernel_drops,
            error: self.error.lock().clone(),
        }
    }
}
