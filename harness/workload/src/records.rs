//! The ledger and the connections on the control port: server and rogue server alike.

use std::sync::Arc;

use serde_json::json;
use tokio::sync::mpsc;

use crate::calls::LINES_WAITING;
use crate::control::{Request, Response};
use crate::serve::App;
use crate::serve::steering::Steering;

/// Records in one answer.
const PAGE: u64 = 50_000;

/// Answers `/ledger`, `/connections`, `/reset` and `/steer`; `None` when the path is another's.
pub fn handle(app: &Arc<App>, request: &Request) -> Option<Response> {
    Some(match request.route() {
        ("GET", path) if path == ["ledger"] => ledger(app, request),
        ("GET", path) if path == ["connections"] => Response::json(&app.connections.report()),
        ("POST", path) if path == ["reset"] => {
            app.ledger.reset();
            app.connections.reset();
            Response::json(&app.read_ledger(0, 0).0)
        }
        ("POST", path) if path == ["steer"] => {
            match Steering::parse(&String::from_utf8_lossy(&request.body)) {
                Ok(steering) => {
                    app.steer(steering);
                    Response::json(&json!({"steered": true}))
                }
                Err(why) => Response::error(400, why),
            }
        }
        _ => return None,
    })
}

fn ledger(app: &App, request: &Request) -> Response {
    let (since, limit) = match (request.number("since", 0), request.number("limit", PAGE)) {
        (Ok(since), Ok(limit)) => (since, limit),
        (Err(response), _) | (_, Err(response)) => return response,
    };
    let (summary, records) = app.read_ledger(since, limit.min(PAGE) as usize);
    let first = serde_json::to_string(&summary).unwrap_or_default();
    let (sender, lines) = mpsc::channel(LINES_WAITING);
    let producer = async move {
        for line in std::iter::once(first).chain(records.into_iter().map(String::from)) {
            if sender.send(line).await.is_err() {
                return;
            }
        }
    };
    Response::Lines {
        producer: Box::pin(producer),
        lines,
    }
}
