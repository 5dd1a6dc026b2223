//! Client and server against each other over the loopback, without the process around them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use meshmark_workload::call::outcome::Outcome;
use meshmark_workload::call::plan::Plan;
use meshmark_workload::call::stop::stop;
use meshmark_workload::call::{Caller, OUTCOMES_WAITING};
use meshmark_workload::serve::ledger::LEDGER_BYTES;
use meshmark_workload::serve::{self, App, Speech};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

struct Server {
    app: Arc<App>,
    address: SocketAddr,
    tasks: JoinSet<()>,
}

impl Server {
    async fn start(speech: Speech) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = App::new("pod".to_owned(), LEDGER_BYTES);
        let mut tasks = JoinSet::new();
        tasks.spawn(serve::listen(app.clone(), listener, speech));
        Self {
            app,
            address,
            tasks,
        }
    }

    async fn call(&self, scheme: &str, plan: &str) -> Vec<Outcome> {
        let url = format!("{scheme}://{}/", self.address);
        let json = plan.replacen('{', &format!(r#"{{"url":"{url}","#), 1);
        let (_setter, stop) = stop();
        let caller = Caller::new(Plan::parse(json.as_bytes()).unwrap(), stop).unwrap();
        let (sender, mut outcomes) = mpsc::channel(OUTCOMES_WAITING);
        let collecting = async {
            let mut all = Vec::new();
            while let Some(outcome) = outcomes.recv().await {
                all.push(outcome);
            }
            all
        };
        tokio::join!(caller.run(sender), collecting).1
    }
}

/// Bodies of every size and framing arrive whole on both versions of HTTP.
#[tokio::test]
async fn bodies_of_every_size_come_back() {
    let server = Server::start(Speech::Http).await;
    for protocol in ["h1", "h2"] {
        for size in [0, 1, 16_384, 65_536, 1_000_000] {
            for chunked in [false, true] {
                let plan = format!(
                    r#"{{"protocol":"{protocol}","method":"POST","steer":"echo=1",
                        "body":{{"bytes":{size},"seed":5,"chunked":{chunked}}}}}"#
                );
                let outcomes = server.call("http", &plan).await;
                let outcome = &outcomes[0];
                assert!(
                    outcome.error.is_none(),
                    "{protocol} {size}: {:?}",
                    outcome.error
                );
                assert_eq!(outcome.body_bytes, size);
                assert_eq!(outcome.body_sha256, outcome.sent_sha256);
            }
        }
    }
}

/// A connection that idles is closed by a drain at once; a busy one after its response.
#[tokio::test]
async fn draining_ends_listeners_and_connections() {
    for protocol in ["h1", "h2"] {
        let mut server = Server::start(Speech::Http).await;
        let plan = format!(r#"{{"protocol":"{protocol}","steer":"delay=100ms"}}"#);
        let app = server.app.clone();
        let draining = async {
            while app.read_ledger(0, 0).0.in_progress == 0 {
                tokio::task::yield_now().await;
            }
            app.drain();
        };
        let (outcomes, ()) = tokio::join!(server.call("http", &plan), draining);
        assert_eq!(
            outcomes[0].status,
            Some(200),
            "{protocol}: {:?}",
            outcomes[0].error
        );
        let ended = tokio::time::timeout(Duration::from_secs(1), server.tasks.join_next()).await;
        assert!(ended.is_ok(), "{protocol}: connections are left open");
        assert_eq!(server.app.connections.report().open, 0);
    }
}

/// TCP closes half by half: the server's answer follows the client's end.
#[tokio::test]
async fn half_closed_connections_still_carry_the_answer() {
    let server = Server::start(Speech::Echo).await;
    let plan = r#"{"protocol":"tcp","id":"t","steer":"size=300000","messages":{"bytes":1000}}"#;
    let outcomes = server.call("tcp", plan).await;
    assert_eq!(outcomes[0].body_bytes, 300_000);
    assert_eq!(outcomes[0].end, Some("fin"));
    let (summary, records) = server.app.read_ledger(0, 10);
    assert_eq!((summary.arrived, records.len()), (1, 1));
}

/// Calls beyond the rate's schedule are never made, however slow the server.
#[tokio::test]
async fn an_open_loop_keeps_its_schedule() {
    let server = Server::start(Speech::Http).await;
    let plan = r#"{"protocol":"h1","steer":"delay=50ms","rate_rps":100,"duration_s":0.3,
        "concurrency":50}"#;
    let outcomes = server.call("http", plan).await;
    assert_eq!(outcomes.len(), 30);
    let last = outcomes
        .iter()
        .map(|outcome| outcome.started_ns)
        .max()
        .unwrap();
    let first = outcomes
        .iter()
        .map(|outcome| outcome.started_ns)
        .min()
        .unwrap();
    // 29 intervals of 10 ms; a closed loop of slow answers would need longer.
    assert!(
        last - first < 450_000_000,
        "{} ms",
        (last - first) / 1_000_000
    );
}
