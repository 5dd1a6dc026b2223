//! Two proxies in two network namespaces, under a control plane that says what each test wants.
//!
//! Needs root: the namespaces, the redirection and the proxy's user are the real ones.

mod control;
mod net;
mod pod;

use std::net::SocketAddr;
use std::time::Duration;

use control::{Control, State, endpoints, server, to_balancer};
use pod::Pod;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const CLIENT: &str = "client.ns.serviceaccount.identity.linkerd.cluster.local";
const SERVER: &str = "server.ns.serviceaccount.identity.linkerd.cluster.local";

/// Two meshed pods; the virtual address leads to port 8080 of the server.
struct Mesh {
    client: Pod,
    server: Pod,
    control: Control,
}

fn service() -> SocketAddr {
    "10.96.0.5:80".parse().expect("address")
}

fn app() -> SocketAddr {
    "10.77.0.2:8080".parse().expect("address")
}

fn plain_state() -> State {
    State {
        outbound: to_balancer(false),
        endpoints: endpoints(&[app()], Some(SERVER)),
        server: server(None, false),
        certificate_life: Duration::from_secs(3600),
    }
}

impl Mesh {
    async fn start(state: State) -> Self {
        let control = Control::new(state);
        let (client, server) = net::pair();
        let (client, server) = tokio::join!(
            Pod::start(client, CLIENT, &control),
            Pod::start(server, SERVER, &control)
        );
        Self { client, server, control }
    }

    fn dial(&self) -> TcpStream {
        self.client.netns.connect(service()).expect("connect")
    }
}

/// Answers each connection with `answer`, after a head was read; what was read is handed out.
fn serve_once(listener: tokio::net::TcpListener, answer: &'static str) -> tokio::task::JoinHandle<String> {
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("accept");
        let head = read_head(&mut stream).await;
        stream.write_all(answer.as_bytes()).await.expect("write");
        head
    })
}

async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("head"));
    }
    String::from_utf8(head).expect("text")
}

#[tokio::test]
async fn http_1_reaches_the_application_over_mutual_tls() {
    let mesh = Mesh::start(plain_state()).await;
    let listener = mesh.server.netns.listen("10.77.0.2:8080");
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-own: 1\r\nconnection: close, x-own\r\n\r\nhi";
    let served = serve_once(listener, answer);
    let mut stream = mesh.dial();
    let request = "GET /a?b HTTP/1.1\r\nHost: web\r\nl5d-client-id: forged\r\n\
                   connection: close, x-hop\r\nx-hop: 1\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("write");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("read");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nhi"), "{answer}");
    assert!(!answer.contains("x-own") && !answer.contains("l5d-"), "{answer}");

    let head = served.await.expect("served");
    assert!(head.starts_with("GET /a?b HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("host: web\r\n"), "{head}");
    assert!(head.contains(&format!("l5d-client-id: {CLIENT}\r\n")), "{head}");
    assert!(!head.contains("forged") && !head.contains("x-hop"), "{head}");
    let labels = ["response_total{", "inbound", "tls=\"true\"", CLIENT, "status_code=\"200\""];
    assert_eq!(mesh.server.metric(&labels).await, Some(1.0));
}
