//! The helper container: looks at packets, plays rogue peers, signals the sidecar.
//!
//! It shares network and process namespace with the application and its sidecar and has the rights
//! that the application must not have: NET_RAW and KILL.

pub mod capture;
pub mod packet;
pub mod sys;

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use crate::application::{Error, bind};
use crate::calls::Calls;
use crate::control::{self, Api, Request, Response};
use capture::Captures;

/// Runs the helper until SIGTERM or SIGINT.
pub async fn run(ctrl: SocketAddr) -> Result<(), Error> {
    let mut term = signal(SignalKind::terminate()).map_err(Error::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signal)?;
    let (listener, bound) = bind(ctrl).await?;
    let mut control = JoinSet::new();
    control.spawn(control::listen(Arc::new(Helper::default()), listener));
    println!(
        "{}",
        json!({"event": "listening", "ctrl": bound.port(), "ports": []})
    );
    tokio::select! {
        _ = term.recv() => {}
        _ = interrupt.recv() => {}
    }
    control.shutdown().await;
    Ok(())
}

#[derive(Default)]
struct Helper {
    calls: Calls,
    captures: Captures,
}

impl Api for Helper {
    async fn handle(self: Arc<Self>, request: Request) -> Response {
        if let Some(response) = self.calls.handle(&request).await {
            return response;
        }
        match request.route() {
            ("GET", path) if path == ["ready"] => Response::json(&json!({"ready": true})),
            ("POST", path) if path == ["capture"] => request
                .json()
                .and_then(|order| self.captures.start(&order))
                .unwrap_or_else(|error| error),
            ("GET", path) if matches!(path[..], ["capture", _]) => self.captures.show(path[1]),
            ("DELETE", path) if matches!(path[..], ["capture", _]) => self.captures.end(path[1]),
            _ => Response::not_found(&request),
        }
    }
}
