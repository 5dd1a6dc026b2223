//! The application as a process: start, readiness, control port, orderly end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::call::outcome::Outcome;
use crate::call::plan::Plan;
use crate::call::stop::stop;
use crate::call::{Caller, OUTCOMES_WAITING};
use crate::calls::Calls;
use crate::clock::unix_ns;
use crate::control::{self, Api, Request, Response};
use crate::options::Serve;
use crate::records;
use crate::serve::{self, App, Speech};

/// Why the program cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A port cannot be listened on.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, std::io::Error),
    /// A signal cannot be waited for.
    #[error("signals: {0}")]
    Signal(std::io::Error),
    /// A plan is wrong.
    #[error("{0}")]
    Plan(String),
}

/// A listener on `address`, and where it is.
pub async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), Error> {
    let error = |error| Error::Listen(address, error);
    let listener = TcpListener::bind(address).await.map_err(error)?;
    let bound = listener.local_addr().map_err(error)?;
    Ok((listener, bound))
}

/// Runs the application until SIGTERM or SIGINT and what follows from it.
pub async fn run(options: Serve) -> Result<(), Error> {
    let mut term = signal(SignalKind::terminate()).map_err(Error::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signal)?;
    let app = App::new(options.pod.clone(), options.ledger_bytes);
    app.steer(options.steering.clone());
    let server = Arc::new(Server {
        app: app.clone(),
        calls: Calls::default(),
        ready_at: Instant::now() + options.ready_after,
        unready: AtomicBool::new(false),
    });
    let (listener, ctrl) = bind(options.ctrl).await?;
    let mut control = JoinSet::new();
    control.spawn(control::listen(server, listener));
    if let Some(plan) = &options.on_start {
        print_calls("start", plan).await?;
    }
    let mut listeners = JoinSet::new();
    let mut ports = Vec::new();
    for (speech, port) in &options.ports {
        let (listener, bound) = bind(SocketAddr::new(options.bind, *port)).await?;
        ports.push(json!({"speech": name(*speech), "port": bound.port()}));
        listeners.spawn(serve::listen(app.clone(), listener, *speech));
    }
    print(&json!({"event": "listening", "ctrl": ctrl.port(), "ports": ports}));
    tokio::select! {
        _ = term.recv() => {}
        _ = interrupt.recv() => {}
    }
    print(&json!({"event": "terminating", "at_ns": unix_ns()}));
    tokio::time::sleep(options.linger).await;
    app.drain();
    let drained = async { while listeners.join_next().await.is_some() {} };
    let in_time = tokio::time::timeout(options.drain, drained).await.is_ok();
    listeners.shutdown().await;
    let (summary, _) = app.read_ledger(0, 0);
    print(&json!({
        "event": "drained",
        "at_ns": unix_ns(),
        "in_time": in_time,
        "ledger": summary,
    }));
    if let Some(plan) = &options.on_term {
        print_calls("term", plan).await?;
    }
    Ok(())
}

/// Makes the calls of a plan and prints their outcomes; whether all got a response.
pub async fn print_calls(event: &str, plan: &str) -> Result<bool, Error> {
    let plan = Plan::parse(plan.as_bytes()).map_err(Error::Plan)?;
    let (_setter, stop) = stop();
    let caller = Caller::new(plan, stop).map_err(Error::Plan)?;
    let (sender, mut outcomes) = mpsc::channel::<Outcome>(OUTCOMES_WAITING);
    let mut good = true;
    let printing = async {
        while let Some(outcome) = outcomes.recv().await {
            good &= outcome.error.is_none();
            print(&json!({"event": event, "outcome": outcome}));
        }
    };
    tokio::join!(caller.run(sender), printing);
    Ok(good)
}

fn print(line: &serde_json::Value) {
    println!("{line}");
}

fn name(speech: Speech) -> &'static str {
    match speech {
        Speech::Http => "http",
        Speech::Echo => "tcp",
        Speech::Banner => "banner",
    }
}

struct Server {
    app: Arc<App>,
    calls: Calls,
    ready_at: Instant,
    unready: AtomicBool,
}

impl Api for Server {
    async fn handle(self: Arc<Self>, request: Request) -> Response {
        if let Some(response) = self.calls.handle(&request).await {
            return response;
        }
        if let Some(response) = records::handle(&self.app, &request) {
            return response;
        }
        match request.route() {
            ("GET", path) if path == ["ready"] => match self.is_ready() {
                true => Response::json(&json!({"ready": true})),
                false => Response::with_status(503, &json!({"ready": false})),
            },
            ("POST", path) if matches!(path[..], ["ready", "true" | "false"]) => {
                self.unready.store(path[1] == "false", Ordering::Relaxed);
                Response::json(&json!({"ready": self.is_ready()}))
            }
            _ => Response::not_found(&request),
        }
    }
}

impl Server {
    fn is_ready(&self) -> bool {
        Instant::now() >= self.ready_at && !self.unready.load(Ordering::Relaxed)
    }
}
