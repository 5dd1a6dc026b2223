//! Who is let in.

use std::net::SocketAddr;
use std::time::Duration;

use linkerd2_proxy_api::http_route::{
    HttpRouteMatch, PathMatch, PathModifier, RequestRedirect, path_match, path_modifier,
};
use linkerd2_proxy_api::inbound::{HttpRoute, http_route, proxy_protocol};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::control::{endpoints, meta, server};
use crate::{CLIENT, EMPTY, Mesh, REQUEST, SERVER, exchange, in_time, plain_state, serve};

#[tokio::test]
async fn requests_are_judged_by_the_policy_in_force() {
    let mut state = plain_state();
    state.server = server(Some(CLIENT), false);
    let mesh = Mesh::start(state).await;
    let served = serve(mesh.listen(), EMPTY);
    let answer = exchange(mesh.dial(), REQUEST).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");

    mesh.control
        .state
        .send_modify(|state| state.server = server(Some("nobody"), false));
    let answer = loop {
        let answer = exchange(mesh.dial(), REQUEST).await;
        if !answer.starts_with("HTTP/1.1 200 ") {
            break answer;
        }
    };
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    assert!(answer.contains("l5d-proxy-error: "), "{answer}");
    assert!(
        mesh.server
            .metric(&["inbound_http_authz_deny_total{", CLIENT])
            .await
            >= Some(1.0)
    );
    served.abort();
}

#[tokio::test]
async fn a_client_outside_the_mesh_is_refused_with_403() {
    let mut state = plain_state();
    state.server = server(Some(CLIENT), false);
    let mesh = Mesh::start(state).await;
    // The proxy's user is spared by the redirection, so this goes to the server directly.
    let endpoints = crate::control::endpoints(&[crate::app()], None);
    mesh.control
        .state
        .send_modify(|state| state.endpoints = endpoints);
    let answer = exchange(mesh.dial(), REQUEST).await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    assert!(!answer.contains("l5d-proxy-error"), "{answer}");
}

/// Of a port that the workload does not list nothing is known until somebody asks for it.
#[tokio::test]
async fn the_first_client_of_a_port_waits_for_its_policy() {
    let unlisted: SocketAddr = "10.77.0.2:8081".parse().expect("address");
    let mesh = Mesh::start(plain_state()).await;
    let tell_late = |opaque| {
        mesh.control.state.send_modify(|state| {
            state.endpoints = endpoints(&[unlisted], Some(SERVER));
            state.server = server(Some("nobody"), opaque);
            state.server_delay = Duration::from_millis(300);
        });
    };
    tell_late(false);
    let served = serve(mesh.server.netns.listen("10.77.0.2:8081"), EMPTY);
    let answer = exchange(mesh.dial(), REQUEST).await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    served.abort();

    tell_late(true);
    let other: SocketAddr = "10.77.0.2:8082".parse().expect("address");
    let listener = mesh.server.netns.listen("10.77.0.2:8082");
    let mut stream = mesh.client.connect_past_proxy(other);
    stream.write_all(b"hello").await.expect("write");
    let end = in_time(stream.read(&mut [0; 16])).await;
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    let accepted = timeout(Duration::from_millis(50), listener.accept()).await;
    assert!(accepted.is_err(), "the application was reached");
}

#[tokio::test]
async fn a_port_sends_clients_elsewhere_by_the_prefix_that_they_asked_for() {
    let prefix = path_match::Kind::Prefix("/old".to_owned());
    let new = path_modifier::Replace::Prefix("/new".to_owned());
    let redirect = RequestRedirect {
        path: Some(PathModifier { replace: Some(new) }),
        ..Default::default()
    };
    let route = HttpRoute {
        metadata: meta("moved"),
        rules: vec![http_route::Rule {
            matches: vec![HttpRouteMatch {
                path: Some(PathMatch { kind: Some(prefix) }),
                ..Default::default()
            }],
            filters: vec![http_route::Filter {
                kind: Some(http_route::filter::Kind::Redirect(redirect)),
            }],
        }],
        ..Default::default()
    };
    // Also for the tests' own look at the admin port.
    let rest = HttpRoute {
        metadata: meta("rest"),
        ..Default::default()
    };
    let mut state = plain_state();
    let detect = proxy_protocol::Detect {
        timeout: Some(Duration::from_secs(10).try_into().expect("valid")),
        http_routes: vec![route, rest],
        http_local_rate_limit: None,
    };
    state.server.protocol = Some(linkerd2_proxy_api::inbound::ProxyProtocol {
        kind: Some(proxy_protocol::Kind::Detect(detect)),
    });
    let mesh = Mesh::start(state).await;
    let request = REQUEST.replace("/ ", "/old/page?x ");
    let answer = exchange(mesh.dial(), request).await;
    assert!(answer.starts_with("HTTP/1.1 301 "), "{answer}");
    assert!(
        answer.contains("location: http://web/new/page?x\r\n"),
        "{answer}"
    );
}
