//! Host names in labels: only where that is asked for, and not as many as a client thinks up.

use tokio::io::AsyncWriteExt as _;

use crate::{EMPTY, Mesh, in_time, plain_state, read_head, serve};

/// Both labels, with what they are asked for by.
const ASKED: [(&str, &str); 2] = [
    ("OUTBOUND_METRICS_HOSTNAME_LABELS", "true"),
    ("INBOUND_METRICS_AUTHORITY_LABELS", "unsafe"),
];

/// Two meshed pods under `env`, between which a request for each of `hosts` was answered.
async fn asked_for(env: &[(&str, &str)], hosts: impl IntoIterator<Item = String>) -> Mesh {
    let mesh = Mesh::start_with(plain_state(), env).await;
    let served = serve(mesh.listen(), EMPTY);
    let mut client = mesh.dial();
    for host in hosts {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        client.write_all(request.as_bytes()).await.expect("write");
        let answer = in_time(read_head(&mut client)).await.expect("answer");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    served.abort();
    mesh
}

/// The values of `label` in the samples of `metric`, with the samples' values.
fn values(metrics: &str, metric: &str, label: &str) -> Vec<(String, f64)> {
    let samples = metrics.lines().filter(|line| line.starts_with(metric));
    let mut values: Vec<_> = samples
        .filter_map(|line| {
            let (value, rest) = line.split_once(&format!("{label}=\""))?.1.split_once('"')?;
            Some((value.to_owned(), rest.rsplit(' ').next()?.parse().ok()?))
        })
        .collect();
    values.sort_by(|one, other| one.0.cmp(&other.0));
    values
}

/// What the client's proxy counts by host, and the server's by authority.
async fn counted(mesh: &Mesh) -> [Vec<(String, f64)>; 2] {
    let client = mesh.client.admin("/metrics").await.expect("metrics");
    let server = mesh.server.admin("/metrics").await.expect("metrics");
    let by_host = "outbound_http_route_request_statuses_total{";
    [
        values(&client, by_host, "hostname"),
        values(&server, "request_total{direction=\"inbound\",", "authority"),
    ]
}

fn hosts(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[tokio::test]
async fn names_are_told_apart_where_that_is_asked_for() {
    let named = hosts(&["web", "Web:80", "web:8080", "10.96.0.5"]);
    let mesh = asked_for(&ASKED, named.clone()).await;
    let value = |name: &str, count| (name.to_owned(), count);
    assert_eq!(
        counted(&mesh).await,
        [
            vec![value("", 1.0), value("web", 3.0)],
            vec![value("web", 2.0), value("web:8080", 1.0)],
        ]
    );
    let mesh = asked_for(&[], named).await;
    assert_eq!(counted(&mesh).await, [vec![value("", 4.0)], vec![]]);
}

#[tokio::test]
async fn what_a_client_thinks_up_is_one_name_in_the_end() {
    let thought_up = (0..150).map(|number| format!("{number}.example"));
    let mesh = asked_for(&ASKED, thought_up).await;
    for values in counted(&mesh).await {
        assert_eq!(values.len(), 101, "{values:?}");
        assert!(values.contains(&("other".to_owned(), 50.0)), "{values:?}");
    }
}
