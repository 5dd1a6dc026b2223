//! The helper container: looks at packets, plays rogue peers, signals the sidecar.
//!
//! It shares network and process namespace with the application and its sidecar and has the rights
//! that the application must not have: NET_RAW and KILL.

pub mod capture;
pub mod credentials;
pub mod packet;
pub mod processes;
pub mod raw;
pub mod sys;
pub mod tls_client;
pub mod tls_server;
pub mod transport_header;

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use crate::application::{Error, bind};
use crate::calls::Calls;
use crate::control::{self, Api, Request, Response};
use crate::records;
use crate::serve::App;
use crate::serve::ledger::LEDGER_BYTES;
use capture::Captures;
use tls_client::Clients;
use tls_server::Servers;

/// Runs the helper until SIGTERM or SIGINT.
pub async fn run(ctrl: SocketAddr) -> Result<(), Error> {
    let mut term = signal(SignalKind::terminate()).map_err(Error::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signal)?;
    let (listener, bound) = bind(ctrl).await?;
    let mut control = JoinSet::new();
    control.spawn(control::listen(Arc::new(Helper::new()), listener));
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

struct Helper {
    app: Arc<App>,
    calls: Calls,
    captures: Captures,
    clients: Clients,
    servers: Servers,
}

impl Helper {
    fn new() -> Self {
        let app = App::new("helper".to_owned(), LEDGER_BYTES);
        Self {
            servers: Servers::new(app.clone()),
            app,
            calls: Calls::default(),
            captures: Captures::default(),
            clients: Clients::default(),
        }
    }

    async fn post(&self, request: &Request, what: &str) -> Result<Response, Response> {
        let bad = |why| Response::error(400, why);
        match what {
            "capture" => self.captures.start(&request.json()?),
            "tls-client" => {
                let report = self.clients.probe(&request.json()?).await.map_err(bad)?;
                Ok(Response::json(&report))
            }
            "tls-server" => self.servers.start(request.json()?).await,
            "raw" => Ok(Response::json(
                &raw::run(&request.json()?).await.map_err(bad)?,
            )),
            "signal" => processes::signal(&request.json()?),
            _ => Err(Response::not_found(request)),
        }
    }
}

impl Api for Helper {
    async fn handle(self: Arc<Self>, request: Request) -> Response {
        if let Some(response) = self.calls.handle(&request).await {
            return response;
        }
        if let Some(response) = records::handle(&self.app, &request) {
            return response;
        }
        match request.route() {
            ("POST", path) if path.len() == 1 => self
                .post(&request, path[0])
                .await
                .unwrap_or_else(|error| error),
            ("GET", path) if path == ["ready"] => Response::json(&json!({"ready": true})),
            ("GET", path) if path == ["processes"] => match processes::list() {
                Ok(found) => Response::json(&found),
                Err(error) => Response::error(500, format!("/proc: {error}")),
            },
            ("GET", path) if matches!(path[..], ["capture", _]) => self.captures.show(path[1]),
            ("DELETE", path) if matches!(path[..], ["capture", _]) => self.captures.end(path[1]),
            ("GET", path) if matches!(path[..], ["tls-server", _]) => self.servers.show(path[1]),
            ("DELETE", path) if matches!(path[..], ["tls-server", _]) => self.servers.end(path[1]),
            _ => Response::not_found(&request),
        }
    }
}
