//! Two proxies in two network namespaces, under a control plane that says what each test wants.
//!
//! Needs root: the namespaces, the redirection and the proxy's user are the real ones.

mod access_log;
mod admission;
mod balancing;
mod control;
mod detection;
mod failing;
mod http1;
mod http2;
mod http2_shared;
mod ingress;
mod life;
mod limits;
mod names;
mod net;
mod own_pod;
mod pod;
mod responses;
mod tcp;
mod threads;

use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::control::{Control, State, endpoints, server, to_balancer};
use crate::pod::Pod;

const CLIENT: &str = "client.ns.serviceaccount.identity.linkerd.cluster.local";
const SERVER: &str = "server.ns.serviceaccount.identity.linkerd.cluster.local";

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: web\r\nconnection: close\r\n\r\n";
const EMPTY: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// What is watched without traffic: each pod watches the policies of its application's and its admin
/// port, for ever. It may be ready before it does.
const AT_REST: usize = 4;

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
        services: HashMap::new(),
        server: server(None, false),
        server_delay: Duration::ZERO,
        certificate_life: Duration::from_secs(3600),
    }
}

impl Mesh {
    async fn start(state: State) -> Self {
        Self::start_with(state, &[]).await
    }

    async fn start_with(state: State, env: &[(&str, &str)]) -> Self {
        let control = Control::new(state);
        let (client, server) = net::pair();
        let (client, server) = tokio::join!(
            Pod::start(client, CLIENT, &control, env),
            Pod::start(server, SERVER, &control, env)
        );
        Self {
            client,
            server,
            control,
        }
    }

    fn dial(&self) -> TcpStream {
        self.client.netns.connect(service()).expect("connect")
    }

    /// Waits until what the control plane is asked for at a time is as `wanted`.
    async fn watched(&self, wanted: impl Fn(usize) -> bool) {
        in_time(async {
            while !wanted(self.control.state.receiver_count()) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    }

    /// The application's port.
    fn listen(&self) -> TcpListener {
        self.server.netns.listen("10.77.0.2:8080")
    }
}

/// Sends `bytes` and reads until the other end closes.
async fn exchange(mut stream: TcpStream, bytes: impl AsRef<[u8]>) -> String {
    stream.write_all(bytes.as_ref()).await.expect("write");
    let mut answer = Vec::new();
    in_time(stream.read_to_end(&mut answer))
        .await
        .expect("read");
    String::from_utf8(answer).expect("text")
}

/// What comes within a time that is long for a proxy on a busy machine, and short for a test.
async fn in_time<F: Future>(awaited: F) -> F::Output {
    let limit = Duration::from_secs(20);
    tokio::time::timeout(limit, awaited).await.expect("in time")
}

/// Serves each request with `answer`, on as many connections as come; the heads, in order, by
/// connection.
fn serve(listener: TcpListener, answer: &'static str) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("accept");
            tokio::spawn(async move {
                while read_head(&mut stream).await.is_some() {
                    stream.write_all(answer.as_bytes()).await.expect("write");
                }
            });
        }
    })
}

/// Serves one connection: reads a head, then writes `answer` and closes. Yields the head.
fn serve_once(listener: TcpListener, answer: &'static str) -> JoinHandle<String> {
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("accept");
        let head = read_head(&mut stream).await.expect("head");
        stream.write_all(answer.as_bytes()).await.expect("write");
        head
    })
}

/// Reads up to the empty line; none at the end of the connection.
async fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8(head).expect("text"))
}
