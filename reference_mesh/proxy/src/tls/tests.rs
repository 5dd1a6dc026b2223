//! Handshakes between credentials, good and bad.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::KeyPair;
use rustls::pki_types::ServerName;
use rustls::{HandshakeKind, ProtocolVersion};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use super::test_pki::{Authority, Validity};
use super::{ClientAlpn, Credentials, Error, TRANSPORT_HEADER_ALPN, peer_id};
use crate::identity::Id;

const WEB: &str = "web.ns.serviceaccount.identity.linkerd.cluster.local";
const API: &str = "api.ns.serviceaccount.identity.linkerd.cluster.local";

type Stream = tokio::io::DuplexStream;
type Ends = (client::TlsStream<Stream>, server::TlsStream<Stream>);

/// Both ends of a handshake in which `from` asks for `to_id`.
async fn handshake(from: &Credentials, to: &Credentials, to_id: &str) -> Result<Ends, String> {
    let config = from.client_config(&Id::parse(to_id).expect("valid"), ClientAlpn::None);
    shake(config, to.server_config()).await
}

async fn shake(
    client: Arc<rustls::ClientConfig>,
    server: Arc<rustls::ServerConfig>,
) -> Result<Ends, String> {
    let (near, far) = tokio::io::duplex(16 * 1024);
    let sni = ServerName::try_from(API).expect("valid");
    let client = TlsConnector::from(client).connect(sni, near);
    let server = TlsAcceptor::from(server).accept(far);
    let (client, server) = tokio::join!(client, server);
    let server = server.map_err(|error| format!("server: {error}"));
    let client = client.map_err(|error| format!("client: {error}"));
    // The client of TLS 1.3 is done before its certificate is judged: the server's word counts.
    match (client, server) {
        (Ok(client), Ok(server)) => Ok((client, server)),
        (Err(client), _) if !client.contains("alert") => Err(client),
        (_, Err(server)) => Err(server),
        (Err(client), _) => Err(client),
    }
}

#[tokio::test]
async fn both_sides_learn_who_the_other_is() {
    let authority = Authority::new();
    let (web, api) = (authority.credentials(WEB), authority.credentials(API));
    let (client, server) = handshake(&web, &api, API).await.expect("agreed");
    let (client, server) = (client.get_ref().1, server.get_ref().1);
    assert_eq!(server.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    assert_eq!(server.server_name(), Some(API));
    let id = peer_id(server.peer_certificates().expect("shown"));
    assert_eq!(id.expect("named").as_str(), WEB);
    let id = peer_id(client.peer_certificates().expect("shown"));
    assert_eq!(id.expect("named").as_str(), API);
}

#[tokio::test]
async fn a_client_shows_no_certificate_that_is_over() {
    let authority = Authority::new();
    let (web, key) = authority.uncertified(WEB);
    let chain = vec![authority.issue(&key, &[WEB], Validity::Now)];
    web.renew(chain, SystemTime::now()).expect("renewed");
    let api = authority.credentials(API);
    let (_, server) = handshake(&web, &api, API).await.expect("agreed");
    assert!(server.get_ref().1.peer_certificates().is_none());
}

#[tokio::test]
async fn a_client_accepts_only_the_server_that_it_wants() {
    let (ours, foreign) = (Authority::new(), Authority::new());
    let web = ours.credentials(WEB);
    let uri = "spiffe://cluster.local/api";
    for (server, wanted, verdict) in [
        (ours.credentials(API), API, Ok(())),
        (ours.credentials(WEB), API, Err("NotValidForName")),
        (foreign.credentials(API), API, Err("BadSignature")),
        (
            ours.credentials_from(&ours, &[API], Validity::Over),
            API,
            Err("xpired"),
        ),
        (
            ours.credentials_from(&ours, &[WEB, API], Validity::Now),
            API,
            Ok(()),
        ),
        (
            ours.credentials_from(&ours, &[API, uri], Validity::Now),
            uri,
            Ok(()),
        ),
    ] {
        let result = handshake(&web, &server, wanted).await.map(drop);
        match (&result, verdict) {
            (Ok(()), Ok(())) => {}
            (Err(error), Err(wanted)) if error.contains(wanted) => {}
            _ => panic!("{result:?}, not {verdict:?}"),
        }
    }
}

#[tokio::test]
async fn a_server_refuses_bad_certificates_but_not_none() {
    let (ours, foreign) = (Authority::new(), Authority::new());
    let api = ours.credentials(API);
    let stranger = ours.credentials_from(&foreign, &[WEB], Validity::Now);
    let error = handshake(&stranger, &api, API)
        .await
        .map(drop)
        .expect_err("refused");
    assert!(error.contains("BadSignature"), "{error}");
    let late = ours.credentials_from(&ours, &[WEB], Validity::Over);
    let error = handshake(&late, &api, API)
        .await
        .map(drop)
        .expect_err("refused");
    assert!(error.contains("xpired"), "{error}");

    let (anonymous, _) = ours.uncertified(WEB);
    let (_client, server) = handshake(&anonymous, &api, API).await.expect("let in");
    assert!(server.get_ref().1.peer_certificates().is_none());
}

#[tokio::test]
async fn authorities_of_all_usual_kinds_are_trusted() {
    for algorithm in [
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ED25519,
        &rcgen::PKCS_RSA_SHA256,
    ] {
        let authority = Authority::with_algorithm(algorithm);
        let (web, api) = (authority.credentials(WEB), authority.credentials(API));
        handshake(&web, &api, API).await.map(drop).expect("agreed");
    }
}

#[tokio::test]
async fn the_transport_header_is_agreed_only_at_the_proxys_own_port() {
    let authority = Authority::new();
    let (web, api) = (authority.credentials(WEB), authority.credentials(API));
    let id = Id::parse(API).expect("valid");
    let client = web.client_config(&id, ClientAlpn::TransportHeader);
    let (client_end, _server) = shake(client.clone(), api.direct_server_config())
        .await
        .expect("ok");
    assert_eq!(
        client_end.get_ref().1.alpn_protocol(),
        Some(TRANSPORT_HEADER_ALPN)
    );
    let (client_end, _server) = shake(client, api.server_config()).await.expect("ok");
    assert_eq!(client_end.get_ref().1.alpn_protocol(), None);
}

#[tokio::test]
async fn sessions_are_never_resumed() {
    let authority = Authority::new();
    let (web, api) = (authority.credentials(WEB), authority.credentials(API));
    for _ in 0..2 {
        let (client, _server) = handshake(&web, &api, API).await.expect("agreed");
        assert_eq!(
            client.get_ref().1.handshake_kind(),
            Some(HandshakeKind::Full)
        );
    }
}

#[tokio::test]
async fn a_renewed_certificate_is_used_at_once() {
    let authority = Authority::new();
    let (web, key) = authority.uncertified(WEB);
    let api = authority.credentials(API);
    assert!(
        handshake(&api, &web, WEB).await.is_err(),
        "no certificate, no handshake"
    );
    let expiry = SystemTime::now() + Duration::from_secs(60);
    for generation in 1..3 {
        let leaf = authority.issue(&key, &[WEB], Validity::Now);
        web.renew(vec![leaf.clone()], expiry).expect("good");
        assert_eq!(web.generation(), generation);
        let (client, _server) = handshake(&api, &web, WEB).await.expect("agreed");
        assert_eq!(client.get_ref().1.peer_certificates(), Some(&[leaf][..]));
    }
    web.ready().await;
}

#[tokio::test]
async fn a_certificate_that_is_not_ours_is_refused_and_changes_nothing() {
    let (authority, foreign) = (Authority::new(), Authority::new());
    let (web, key) = authority.uncertified(WEB);
    let other = KeyPair::generate().expect("key");
    let expiry = SystemTime::now() + Duration::from_secs(60);
    let renew = |leaf| web.renew(vec![leaf], expiry).expect_err("refused");
    let now = Validity::Now;
    assert!(matches!(
        renew(authority.issue(&other, &[WEB], now)),
        Error::OtherKey
    ));
    assert!(matches!(
        renew(authority.issue(&key, &[API], now)),
        Error::OtherName { .. }
    ));
    assert!(matches!(
        renew(foreign.issue(&key, &[WEB], now)),
        Error::Invalid(_)
    ));
    assert!(matches!(
        renew(authority.issue(&key, &[WEB], Validity::Over)),
        Error::Invalid(_)
    ));
    assert!(matches!(
        web.renew(Vec::new(), expiry),
        Err(Error::Invalid(_))
    ));
    assert_eq!(web.generation(), 0);
}
