//! What a connection speaks, where nobody says.

use std::sync::Arc;
use std::time::Duration;

use linkerd2_proxy_api::inbound;
use linkerd2_proxy_api::outbound::proxy_protocol;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::control::{endpoints, to_balancer};
use crate::{Mesh, app, exchange, in_time, plain_state, serve_once};

/// An application's own TLS, of which the mesh knows nothing.
struct OwnTls {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl OwnTls {
    fn new(name: &str) -> Self {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed([name.to_owned()]).expect("certificate");
        let provider = || Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).expect("key");
        let server = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .expect("own certificate");
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone()).expect("root");
        let client = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self {
            server: Arc::new(server),
            client: Arc::new(client),
        }
    }

    /// Terminates one connection and echoes five bytes.
    fn serve(&self, listener: TcpListener) -> JoinHandle<()> {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.server));
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.expect("accept");
            let mut stream = acceptor.accept(stream).await.expect("handshake");
            let mut bytes = [0; 5];
            stream.read_exact(&mut bytes).await.expect("read");
            stream.write_all(&bytes).await.expect("write");
            stream.flush().await.expect("write");
        })
    }
}

#[tokio::test]
async fn the_applications_own_tls_passes_unopened() {
    const NAME: &str = "shop.example";
    // From the mesh, then from outside of it: there the server's proxy sees the name in the clear.
    for (meshed, label) in [(true, "tls=\"true\""), (false, "tls=\"opaque\"")] {
        let mut state = plain_state();
        if !meshed {
            state.endpoints = endpoints(&[app()], None);
        }
        let mesh = Mesh::start(state).await;
        let own = OwnTls::new(NAME);
        let served = own.serve(mesh.listen());
        let connector = TlsConnector::from(Arc::clone(&own.client));
        let name = ServerName::try_from(NAME).expect("name");
        let mut stream = connector
            .connect(name, mesh.dial())
            .await
            .expect("verified");
        stream.write_all(b"hello").await.expect("write");
        let mut back = [0; 5];
        stream.read_exact(&mut back).await.expect("read");
        assert_eq!(&back, b"hello");
        served.await.expect("served");
        let labels = ["tcp_open_total{", "inbound", "peer=\"src\"", label];
        assert_eq!(mesh.server.metric(&labels).await, Some(1.0), "{label}");
    }
}

#[tokio::test]
async fn a_client_that_waits_for_the_server_is_served_after_the_time_out() {
    let mut state = plain_state();
    let protocol = state
        .outbound
        .protocol
        .as_mut()
        .and_then(|p| p.kind.as_mut());
    let Some(proxy_protocol::Kind::Detect(detect)) = protocol else {
        panic!("not detected");
    };
    detect.timeout = Some(prost_types::Duration {
        seconds: 0,
        nanos: 200_000_000,
    });
    let mesh = Mesh::start(state).await;
    let listener = mesh.listen();
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("accept");
        stream.write_all(b"220 ready\r\n").await.expect("write");
        let mut got = String::new();
        stream.read_to_string(&mut got).await.expect("read");
        got
    });
    let mut stream = mesh.dial();
    let mut greeting = [0; 11];
    stream.read_exact(&mut greeting).await.expect("greeting");
    assert_eq!(&greeting, b"220 ready\r\n");
    stream
        .write_all(b"GET is no request here")
        .await
        .expect("write");
    stream.shutdown().await.expect("shutdown");
    assert_eq!(served.await.expect("served"), "GET is no request here");
    let labels = [
        "outbound_tcp_detect_http_results_total{",
        "result=\"read_timeout\"",
    ];
    assert_eq!(mesh.client.metric(&labels).await, Some(1.0));
}

/// What would let a client past all that judges requests: policy, limits, and the headers that only
/// proxies may set.
#[tokio::test]
async fn no_request_reaches_the_application_as_bytes() {
    let mut state = plain_state();
    let protocol = state.server.protocol.as_mut().and_then(|p| p.kind.as_mut());
    let Some(inbound::proxy_protocol::Kind::Detect(detect)) = protocol else {
        panic!("not detected");
    };
    detect.timeout = Some(prost_types::Duration {
        seconds: 0,
        nanos: 100_000_000,
    });
    // The client's proxy passes on its bytes as they are, as if there were none.
    state.outbound = to_balancer(true);
    state.endpoints = endpoints(&[app()], None);
    let mesh = Mesh::start(state).await;
    let served = serve_once(
        mesh.listen(),
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    );
    let rest = "Host: web\r\nl5d-client-id: forged\r\nConnection: close\r\n\r\n";
    let malformed = [
        ("GET\t/x\tHTTP/1.1\r\n", ""),
        ("GET\t/x", "\tHTTP/1.1\r\n"),
        ("\r\n GET /x y", " HTTP/1.1\r\n"),
    ];
    let well_formed = ("GET /ad", "min HTTP/1.1\r\n");
    for (number, (first, second)) in malformed.into_iter().chain([well_formed]).enumerate() {
        let mut stream = mesh.dial();
        stream.write_all(first.as_bytes()).await.expect("write");
        let labels = [
            "inbound_tcp_detect_http_results_total{",
            "result=\"http/1\"",
        ];
        in_time(async {
            while mesh.server.metric(&labels).await != Some((number + 1) as f64) {
                assert!(!served.is_finished(), "{first:?} reached the application");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        let answer = exchange(stream, format!("{second}{rest}")).await;
        let status = if first == well_formed.0 { 200 } else { 400 };
        let wanted = format!("HTTP/1.1 {status} ");
        assert!(answer.starts_with(&wanted), "{first:?}: {answer}");
    }
    let head = served.await.expect("served");
    assert!(head.starts_with("GET /admin "), "{head}");
    assert!(!head.contains("forged"), "{head}");
}
