//! Connections to an admin port, over loopback, in plain text and mesh TLS.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{LIFE_LIMIT, MAX_CONNECTIONS, Server, serve};
use crate::admin::Admin;
use crate::identity::Id;
use crate::policy::Meta;
use crate::policy::inbound::{
    Authentication, Authorization, Http, Network, Protocol, Route, ServerPolicy,
};
use crate::readiness::Readiness;
use crate::telemetry::Telemetry;
use crate::tls::test_pki::Authority;
use crate::tls::{ClientAlpn, Credentials};

const NAME: &str = "web.ns.serviceaccount.identity.linkerd.cluster.local";

struct Port {
    addr: SocketAddr,
    credentials: Credentials,
    telemetry: Telemetry,
    _task: JoinSet<()>,
}

/// An admin port whose policy asks for this.
async fn port(authentication: Authentication) -> Port {
    let authorizations: Arc<[_]> = Arc::new([Authorization {
        meta: Meta::default_named("all"),
        networks: vec![Network {
            net: "0.0.0.0/0".parse().expect("valid"),
            except: Vec::new(),
        }],
        authentication,
    }]);
    let routes = Arc::new([Route::any(authorizations.clone())]);
    let policy = ServerPolicy {
        meta: Meta::default_named("all"),
        protocol: Protocol::Http1(Http {
            routes,
            rate_limit: None,
        }),
        authorizations,
    };
    let telemetry = Telemetry::new(Duration::from_secs(1));
    let credentials = Authority::new().credentials(NAME);
    let server = Server {
        admin: Admin::new(
            telemetry.clone(),
            Readiness::new(),
            credentials.clone(),
            None,
            None,
        ),
        credentials: credentials.clone(),
        policy: watch::Sender::new(Arc::new(policy)).subscribe(),
        telemetry: telemetry.clone(),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let addr = listener.local_addr().expect("bound");
    let mut task = JoinSet::new();
    task.spawn(serve(listener, server));
    Port {
        addr,
        credentials,
        telemetry,
        _task: task,
    }
}

/// The whole answer to these bytes.
async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, bytes: &[u8]) -> String {
    stream.write_all(bytes).await.expect("sent");
    let mut answer = Vec::new();
    // A peer that closes without a TLS farewell is fine here.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

const LIVE: &[u8] = b"GET /live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn plain_text_is_served_where_policy_allows_it() {
    let port = port(Authentication::Unauthenticated).await;
    let answer = ask(
        TcpStream::connect(port.addr).await.expect("connected"),
        LIVE,
    )
    .await;
    assert!(
        answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("live\n"),
        "{answer}"
    );
    let stream = TcpStream::connect(port.addr).await.expect("connected");
    let answer = ask(stream, b"GET / HTTP/1.1\r\nbad header\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
}

#[tokio::test]
async fn an_identity_is_asked_for_and_counted() {
    let port = port(Authentication::any_identity()).await;
    let answer = ask(
        TcpStream::connect(port.addr).await.expect("connected"),
        LIVE,
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");

    let id = Id::parse(NAME).expect("valid");
    let connector = TlsConnector::from(port.credentials.client_config(&id, ClientAlpn::None));
    let sni = ServerName::try_from(NAME).expect("valid");
    let stream = TcpStream::connect(port.addr).await.expect("connected");
    let answer = ask(connector.connect(sni, stream).await.expect("agreed"), LIVE).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");

    let mut text = String::new();
    port.telemetry.encode(&mut text);
    let count = |name: &str, tls: &str| {
        let mut lines = text.lines();
        lines.any(|line| line.starts_with(name) && line.contains(tls) && line.ends_with(" 1"))
    };
    assert!(
        count("inbound_http_authz_deny_total{", "tls=\"no_identity\""),
        "{text}"
    );
    let tls = format!("tls=\"true\",client_id=\"{NAME}\"");
    assert!(count("inbound_http_authz_allow_total{", &tls), "{text}");
    assert!(count("response_total{", &tls), "{text}");
}

/// A connection from `ip` that has sent `bytes`.
async fn idle(port: &Port, ip: &str, bytes: &[u8]) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("socket");
    let from = format!("{ip}:0").parse().expect("address");
    socket.bind(from).expect("bound");
    let mut stream = socket.connect(port.addr).await.expect("connected");
    stream.write_all(bytes).await.expect("sent");
    stream
}

#[tokio::test]
async fn whoever_takes_all_connections_loses_the_oldest() {
    let port = port(Authentication::Unauthenticated).await;
    let mut few = idle(&port, "127.0.0.3", &LIVE[..1]).await;
    let mut many = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        many.push(idle(&port, "127.0.0.2", b"P").await);
    }
    let stream = TcpStream::connect(port.addr).await.expect("connected");
    let answer = timeout(Duration::from_secs(10), ask(stream, LIVE)).await;
    let answer = answer.expect("while others hold all they can");
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(matches!(many[0].read(&mut [0]).await, Ok(0) | Err(_)));

    few.write_all(&LIVE[1..]).await.expect("open");
    let mut answer = String::new();
    few.read_to_string(&mut answer).await.expect("read");
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn no_connection_is_held_for_ever() {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    for bytes in [&b"P"[..], preface] {
        let port = port(Authentication::Unauthenticated).await;
        let mut stream = idle(&port, "127.0.0.1", bytes).await;
        let mut rest = Vec::new();
        let ended = timeout(2 * LIFE_LIMIT, stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "{bytes:?} holds the connection");
    }
}
