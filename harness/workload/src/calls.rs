//! Calls and traffic on the control port: the part that server and helper have in common.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use serde::Serialize;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::call::outcome::Outcome;
use crate::call::plan::Plan;
use crate::call::stop::{StopSetter, stop};
use crate::call::{Caller, OUTCOMES_WAITING};
use crate::control::{Request, Response};

/// Traffic that may run or wait to be collected at once.
const TRAFFIC_LIMIT: usize = 64;

/// Outcomes kept for one traffic: half an hour at 100 calls a second. Older ones are dropped and
/// counted; the counts by result cover all of them.
const OUTCOMES_KEPT: usize = 200_000;

/// Running and finished traffic.
#[derive(Default)]
pub struct Calls {
    traffic: Mutex<HashMap<u64, Traffic>>,
    last: Mutex<u64>,
}

struct Traffic {
    stop: StopSetter,
    seen: Arc<Mutex<Seen>>,
    caller: Arc<Caller>,
    task: JoinHandle<()>,
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Default)]
struct Seen {
    outcomes: VecDeque<String>,
    summary: Summary,
}

/// Counts of a traffic so far.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    /// Calls that ended.
    pub calls: u64,
    /// Calls that failed without a response.
    pub errors: u64,
    /// Calls by result: the status, or the kind of error.
    pub results: HashMap<String, u64>,
    /// Outcomes dropped for want of room.
    pub dropped: u64,
    /// Connections opened.
    pub connections: u64,
    /// How kept connections ended: `announced`, `goaway`, `closed`.
    pub ends: BTreeMap<&'static str, u64>,
    /// Whether calls are still being made.
    pub running: bool,
}

impl Summary {
    fn add(&mut self, outcome: &Outcome) {
        self.calls += 1;
        self.errors += u64::from(outcome.error.is_some());
        let result = match (&outcome.error, outcome.status) {
            (Some(error), _) => error.kind.to_owned(),
            (None, Some(status)) => status.to_string(),
            (None, None) => "ok".to_owned(),
        };
        *self.results.entry(result).or_default() += 1;
    }
}

impl Calls {
    /// Answers `/call`, `/traffic` and `/resolve`; `None` when the path is another's.
    pub async fn handle(&self, request: &Request) -> Option<Response> {
        Some(match request.route() {
            ("POST", path) if path == ["call"] => or_error(call(&request.body)),
            ("POST", path) if path == ["traffic"] => or_error(self.start(&request.body)),
            ("GET", path) if matches!(path[..], ["traffic", _]) => self.show(path[1]),
            ("DELETE", path) if matches!(path[..], ["traffic", _]) => self.end(path[1]).await,
            ("GET", path) if matches!(path[..], ["resolve", _]) => resolve(path[1]).await,
            _ => return None,
        })
    }

    fn start(&self, body: &[u8]) -> Result<Response, Response> {
        let plan = plan_of(body)?;
        let mut traffic = self.traffic.lock();
        if traffic.len() >= TRAFFIC_LIMIT {
            let why = format!("{TRAFFIC_LIMIT} traffics exist: end one (DELETE /traffic/ID)");
            return Err(Response::error(429, why));
        }
        let (setter, stop) = stop();
        let caller = Caller::new(plan, stop).map_err(|why| Response::error(400, why))?;
        let seen = Arc::new(Mutex::new(Seen::default()));
        let task = tokio::spawn(collect(caller.clone(), seen.clone()));
        let id = {
            let mut last = self.last.lock();
            *last += 1;
            *last
        };
        traffic.insert(
            id,
            Traffic {
                stop: setter,
                seen,
                caller,
                task,
            },
        );
        Ok(Response::with_status(201, &json!({"id": id})))
    }

    fn show(&self, id: &str) -> Response {
        let traffic = self.traffic.lock();
        match id.parse().ok().and_then(|id: u64| traffic.get(&id)) {
            Some(traffic) => Response::json(&traffic.summary()),
            None => Response::error(404, format!("no traffic {id:?}")),
        }
    }

    /// Stops a traffic, waits for the calls in progress, and hands out everything.
    async fn end(&self, id: &str) -> Response {
        let taken = id
            .parse()
            .ok()
            .and_then(|id: u64| self.traffic.lock().remove(&id));
        let Some(mut traffic) = taken else {
            return Response::error(404, format!("no traffic {id:?}"));
        };
        traffic.stop.set();
        // The deadline of a call bounds this wait.
        if let Err(error) = (&mut traffic.task).await {
            return Response::error(500, format!("traffic {id}: {error}"));
        }
        let first = serde_json::to_string(&traffic.summary()).unwrap_or_default();
        let outcomes = std::mem::take(&mut traffic.seen.lock().outcomes);
        let (sender, lines) = mpsc::channel(LINES_WAITING);
        let producer = async move {
            for line in std::iter::once(first).chain(outcomes) {
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
}

impl Traffic {
    fn summary(&self) -> Summary {
        Summary {
            connections: self.caller.connections(),
            ends: self.caller.ends(),
            running: !self.task.is_finished(),
            ..self.seen.lock().summary.clone()
        }
    }
}

async fn collect(caller: Arc<Caller>, seen: Arc<Mutex<Seen>>) {
    let (sender, mut outcomes) = mpsc::channel(OUTCOMES_WAITING);
    let storing = async {
        while let Some(outcome) = outcomes.recv().await {
            let mut seen = seen.lock();
            seen.summary.add(&outcome);
            if seen.outcomes.len() == OUTCOMES_KEPT {
                seen.outcomes.pop_front();
                seen.summary.dropped += 1;
            }
            seen.outcomes.push_back(line(&outcome));
        }
    };
    tokio::join!(caller.run(sender), storing);
}

fn call(body: &[u8]) -> Result<Response, Response> {
    let (setter, stop) = stop();
    let caller = Caller::new(plan_of(body)?, stop).map_err(|why| Response::error(400, why))?;
    let (sender, mut outcomes) = mpsc::channel(OUTCOMES_WAITING);
    let (lines_in, lines) = mpsc::channel(LINES_WAITING);
    let producer = async move {
        let _setter = setter;
        let writing = async {
            while let Some(outcome) = outcomes.recv().await {
                if lines_in.send(line(&outcome)).await.is_err() {
                    return;
                }
            }
        };
        tokio::join!(caller.run(sender), writing);
    };
    Ok(Response::Lines {
        producer: Box::pin(producer),
        lines,
    })
}

/// Lines of an answer that wait for the harness to read them.
pub const LINES_WAITING: usize = 1024;

/// One outcome as a line of JSON.
pub fn line(outcome: &Outcome) -> String {
    // An outcome has no map with keys that are not strings, nor a failing serializer.
    serde_json::to_string(outcome).unwrap_or_default()
}

fn plan_of(body: &[u8]) -> Result<Plan, Response> {
    Plan::parse(body).map_err(|why| Response::error(400, why))
}

fn or_error(result: Result<Response, Response>) -> Response {
    result.unwrap_or_else(|error| error)
}

async fn resolve(name: &str) -> Response {
    match tokio::net::lookup_host((name, 0)).await {
        Ok(addresses) => {
            let addresses: Vec<String> = addresses.map(|a| a.ip().to_string()).collect();
            Response::json(&json!({"name": name, "addresses": addresses}))
        }
        Err(error) => Response::json(&json!({"name": name, "error": error.to_string()})),
    }
}
