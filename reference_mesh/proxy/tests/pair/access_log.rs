//! What a proxy writes of the requests that it lets in or refuses.

use std::io::Read as _;

use tokio::io::AsyncWriteExt as _;

use crate::control::server;
use crate::life::signal;
use crate::pod::Pod;
use crate::{CLIENT, Mesh, REQUEST, exchange, plain_state, read_head, serve};

const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nyes";

/// What the proxies of client and server wrote to standard error in their lives, in which the one
/// sent `requests` and the other let in those of `allowed`.
async fn written(format: &str, allowed: &str, requests: &[&str]) -> [String; 2] {
    let mut state = plain_state();
    state.server = server(Some(allowed), false);
    let env = [("ACCESS_LOG", format), ("CORES", "2")];
    let mut mesh = Mesh::start_with(state, &env).await;
    let served = serve(mesh.listen(), ANSWER);
    for request in requests {
        exchange(mesh.dial(), request).await;
    }
    served.abort();
    [&mut mesh.client, &mut mesh.server].map(last_words)
}

/// Ends a proxy; what it had written by then.
fn last_words(pod: &mut Pod) -> String {
    let mut log = pod.proxy.stderr.take().expect("piped");
    signal(pod, "TERM");
    let mut text = String::new();
    log.read_to_string(&mut text).expect("text");
    text
}

#[tokio::test]
async fn each_inbound_request_is_a_line() {
    let request = "POST /books?id=1 HTTP/1.1\r\nHost: web\r\nuser-agent: test\r\n\
                   x-request-id: r1\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi";
    let [client, server] = written("json", CLIENT, &[request, request]).await;
    assert_eq!(client, "", "requests of the application are another log's");
    let lines: Vec<_> = server.lines().collect();
    assert_eq!(lines.len(), 2, "{server}");
    for line in lines {
        for part in [
            r#"{"client.addr":"10.77.0.1:"#,
            &format!(r#","client.id":"{CLIENT}","host":"web","method":"POST","processing_ns":""#),
            r#","request_bytes":"2","response_bytes":"3","status":200,"timestamp":"20"#,
            r#","trace_id":"r1","uri":"http://web/books?id=1","user_agent":"test","#,
            r#""version":"HTTP/1.1"}"#,
        ] {
            assert!(line.contains(part), "no {part} in {line}");
        }
    }
}

#[tokio::test]
async fn what_is_refused_is_a_line_too() {
    for (allowed, status) in [(CLIENT, 200), ("nobody", 403)] {
        let [_, server] = written("apache", allowed, &[REQUEST]).await;
        let line = server.strip_suffix('\n').expect("a line");
        assert!(line.starts_with("10.77.0.1:"), "{line}");
        assert!(line.contains(&format!(" {CLIENT} - [20")), "{line}");
        let end = format!("Z] \"GET http://web/ HTTP/1.1\" {status}");
        assert!(line.ends_with(&end) && !line.contains('\n'), "{line}");
    }
}

#[tokio::test]
async fn what_is_under_way_at_the_end_is_a_line_without_a_status() {
    for cores in ["1", "2"] {
        let env = [
            ("ACCESS_LOG", "apache"),
            ("CORES", cores),
            ("SHUTDOWN_GRACE_PERIOD", "100ms"),
        ];
        let mut mesh = Mesh::start_with(plain_state(), &env).await;
        let listener = mesh.listen();
        let mut client = mesh.dial();
        client.write_all(REQUEST.as_bytes()).await.expect("write");
        let (mut served, _) = listener.accept().await.expect("accept");
        read_head(&mut served).await.expect("request");
        let log = last_words(&mut mesh.server);
        let ends = |line: &str| line.ends_with(" \"GET http://web/ HTTP/1.1\"");
        assert!(log.lines().any(ends), "{cores}: {log}");
    }
}

/// More lines than wait for a reader, and than a pipe holds.
#[tokio::test]
async fn a_log_that_nobody_reads_stops_no_request() {
    let mesh = Mesh::start_with(plain_state(), &[("ACCESS_LOG", "json")]).await;
    let served = serve(mesh.listen(), ANSWER);
    let mut requests = "GET / HTTP/1.1\r\nHost: web\r\n\r\n".repeat(999);
    requests += REQUEST;
    let send = |_| tokio::spawn(exchange(mesh.dial(), requests.clone()));
    for client in (0..6).map(send).collect::<Vec<_>>() {
        let answers = client.await.expect("sent");
        assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 1000);
    }
    let dropped = mesh
        .server
        .metric(&["access_log_lines_dropped_total"])
        .await;
    assert!(dropped > Some(1000.0), "{dropped:?}");
    served.abort();
}
