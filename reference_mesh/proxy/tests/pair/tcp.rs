//! Bytes from end to end.

use linkerd2_proxy_api::destination::{AuthorityOverride, update};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::control::{server, to_balancer, to_tls_route};
use crate::{Mesh, exchange, plain_state};

async fn opaque_mesh() -> Mesh {
    let mut state = plain_state();
    state.outbound = to_balancer(true);
    state.server = server(None, true);
    Mesh::start(state).await
}

#[tokio::test]
async fn a_server_may_speak_first_on_an_opaque_port() {
    let mesh = opaque_mesh().await;
    let listener = mesh.listen();
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("accept");
        stream.write_all(b"220 ready\r\n").await.expect("write");
        let mut got = Vec::new();
        stream.read_to_end(&mut got).await.expect("read");
        stream.write_all(b"bye").await.expect("write");
        got
    });
    let mut stream = mesh.dial();
    let mut greeting = [0; 11];
    stream.read_exact(&mut greeting).await.expect("greeting");
    assert_eq!(&greeting, b"220 ready\r\n");
    stream.write_all(b"QUIT").await.expect("write");
    stream.shutdown().await.expect("half-close");
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.expect("read");
    assert_eq!(rest, "bye");
    assert_eq!(served.await.expect("served"), b"QUIT");
    let labels = ["tcp_open_total{", "inbound", "peer=\"src\"", "tls=\"true\""];
    assert_eq!(mesh.server.metric(&labels).await, Some(1.0));
}

#[tokio::test]
async fn bytes_that_are_no_http_pass_unchanged() {
    let mesh = Mesh::start(plain_state()).await;
    let listener = mesh.listen();
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("accept");
        let mut got = vec![0; 1 << 20];
        stream.read_exact(&mut got).await.expect("read");
        stream.write_all(&got).await.expect("write");
    });
    let (mut reader, mut writer) = mesh.dial().into_split();
    let bytes: Vec<u8> = (0..1 << 20).map(|i: u32| (i * 31 % 251) as u8).collect();
    let sent = bytes.clone();
    let upload = tokio::spawn(async move { writer.write_all(&sent).await.expect("write") });
    let mut back = vec![0; 1 << 20];
    reader.read_exact(&mut back).await.expect("read");
    assert!(back == bytes);
    upload.await.expect("upload");
    served.await.expect("served");
}

#[tokio::test]
async fn an_opaque_client_that_is_not_let_in_reaches_nobody() {
    let mut state = plain_state();
    state.outbound = to_balancer(true);
    state.server = server(Some("nobody"), true);
    let mesh = Mesh::start(state).await;
    let listener = mesh.listen();
    let mut stream = mesh.dial();
    let _ = stream.write_all(b"hello").await;
    assert!(matches!(stream.read(&mut [0; 16]).await, Ok(0) | Err(_)));
    let accepted = tokio::time::timeout(std::time::Duration::from_millis(50), listener.accept());
    assert!(accepted.await.is_err(), "the application was reached");
    let labels = ["inbound_tcp_authz_deny_total{"];
    assert_eq!(mesh.server.metric(&labels).await, Some(1.0));
}

#[tokio::test]
async fn a_change_of_policy_ends_an_opaque_connection() {
    let mesh = opaque_mesh().await;
    let listener = mesh.listen();
    let mut stream = mesh.dial();
    let (mut served, _) = listener.accept().await.expect("accept");
    served.write_all(b"x").await.expect("write");
    assert_eq!(stream.read_u8().await.expect("read"), b'x');
    mesh.control
        .state
        .send_modify(|state| state.server = server(Some("nobody"), true));
    assert!(matches!(stream.read(&mut [0; 16]).await, Ok(0) | Err(_)));
}

#[tokio::test]
async fn garbage_on_the_proxys_own_port_is_closed() {
    let mesh = Mesh::start(plain_state()).await;
    let direct = "10.77.0.2:4143".parse().expect("address");
    for bytes in [
        &b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..],
        &[0x16, 3, 1, 0, 4, 1, 0, 0, 0],
        &[0; 64],
    ] {
        // From the server's own side, where nothing redirects what goes over loopback.
        let mut stream = mesh.server.netns.connect(direct).expect("connect");
        stream.write_all(bytes).await.expect("write");
        stream.shutdown().await.expect("shutdown");
        assert!(
            matches!(stream.read(&mut [0; 16]).await, Ok(0) | Err(_)),
            "{bytes:?}"
        );
    }
}

#[tokio::test]
async fn tls_of_the_applications_own_goes_by_its_name() {
    let mut state = plain_state();
    state.outbound = to_tls_route("app.example.com");
    state.server = server(None, true);
    let mesh = Mesh::start(state).await;
    let listener = mesh.listen();
    let mut routed = mesh.dial();
    let hello = client_hello("app.example.com");
    routed.write_all(&hello).await.expect("write");
    let (mut served, _) = listener.accept().await.expect("accept");
    let mut got = vec![0; hello.len()];
    served.read_exact(&mut got).await.expect("read");
    assert!(got == hello, "the bytes arrive as they were");

    for bytes in [client_hello("other.example.com"), b"no TLS at all".to_vec()] {
        let mut stream = mesh.dial();
        stream.write_all(&bytes).await.expect("write");
        assert!(matches!(stream.read(&mut [0; 16]).await, Ok(0) | Err(_)));
    }
}

/// The least that names a server.
fn client_hello(name: &str) -> Vec<u8> {
    let sized = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat();
    let entry = [&[0][..], &sized(name.as_bytes())].concat();
    let extension = [&[0, 0][..], &sized(&sized(&entry))].concat();
    let body = [
        &[3, 3][..],
        &[7; 32],
        &[0, 0, 2, 0x13, 1, 1, 0],
        &sized(&extension),
    ]
    .concat();
    let message = [&[1, 0][..], &sized(&body)].concat();
    [&[0x16, 3, 1][..], &sized(&message)].concat()
}

/// A gateway is asked for by name; this proxy is none, and a peer may think up as many as it likes.
#[tokio::test]
async fn names_that_peers_think_up_are_no_series_of_their_own() {
    let mut state = plain_state();
    let Some(update::Update::Add(set)) = &mut state.endpoints.update else {
        panic!("no endpoints");
    };
    // Longer than any name in DNS.
    let name = "a".repeat(300);
    set.addrs[0].authority_override = Some(AuthorityOverride {
        authority_override: format!("{name}:80"),
    });
    let mesh = Mesh::start(state).await;
    let request = "GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n";
    let answer = exchange(mesh.dial(), request).await;
    assert!(answer.starts_with("HTTP/1.1 50"), "{answer}");
    let metric = "inbound_tcp_transport_header_connections_total{";
    assert!(mesh.server.metric(&[metric, "target_name=\"other\""]).await >= Some(1.0));
    assert_eq!(mesh.server.metric(&[metric, &name]).await, None);
}
