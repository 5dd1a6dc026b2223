//! Certification against an issuer in the same process.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use linkerd2_proxy_api::identity::identity_server::{Identity, IdentityServer};
use linkerd2_proxy_api::identity::{CertifyRequest, CertifyResponse};
use rcgen::KeyPair;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use super::{Error, Settings, install, refresh_in, run};
use crate::config::ControlAddr;
use crate::control::{Client, Resolver};
use crate::identity::Id;
use crate::telemetry::Telemetry;
use crate::tls::Credentials;
use crate::tls::test_pki::{Authority, Validity};

const NAME: &str = "web.ns.serviceaccount.identity.linkerd.cluster.local";

struct Issuer {
    authority: Arc<Authority>,
    key: KeyPair,
    /// Each call's token; the test answers nothing, so its capacity bounds the calls too.
    calls: mpsc::Sender<String>,
    /// Calls that fail before one succeeds.
    refusals: parking_lot::Mutex<usize>,
}

#[tonic::async_trait]
impl Identity for Issuer {
    async fn certify(
        &self,
        request: Request<CertifyRequest>,
    ) -> Result<Response<CertifyResponse>, Status> {
        let token = String::from_utf8(request.into_inner().token).expect("text");
        self.calls
            .send(token)
            .await
            .map_err(|_| Status::aborted("the test is over"))?;
        let refused = {
            let mut left = self.refusals.lock();
            let refused = *left > 0;
            *left = left.saturating_sub(1);
            refused
        };
        if refused {
            return Err(Status::unavailable("not yet"));
        }
        Ok(Response::new(good(
            &self.authority,
            &self.key,
            Duration::from_millis(150),
        )))
    }
}

/// An answer whose certificate is said to be valid for `life`.
fn good(authority: &Authority, key: &KeyPair, life: Duration) -> CertifyResponse {
    CertifyResponse {
        leaf_certificate: authority.issue(key, &[NAME], Validity::Now).to_vec(),
        intermediate_certificates: Vec::new(),
        valid_until: Some((SystemTime::now() + life).into()),
    }
}

fn settings(token_file: std::path::PathBuf) -> Settings {
    Settings {
        id: Id::parse(NAME).expect("valid"),
        csr: b"request".to_vec(),
        token_file,
        min_refresh: Duration::from_millis(10),
        max_refresh: Duration::from_secs(60),
    }
}

#[tokio::test]
async fn the_token_is_read_for_each_call_and_failures_are_tried_again() {
    let authority = Arc::new(Authority::new());
    let (credentials, key) = authority.uncertified(NAME);
    let (calls, mut seen) = mpsc::channel(1);
    let issuer = Issuer {
        authority: authority.clone(),
        key,
        calls,
        refusals: parking_lot::Mutex::new(1),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let port = listener.local_addr().expect("bound").port();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let server = Server::builder().add_service(IdentityServer::new(issuer));
        server
            .serve_with_incoming(TcpIncoming::from(listener))
            .await
            .expect("served");
    });

    let token = std::env::temp_dir().join(format!("token-{}", std::process::id()));
    fs::write(&token, "first").expect("written");
    let telemetry = Telemetry::new(Duration::from_secs(1));
    let addr = ControlAddr {
        host: "127.0.0.1".to_owned(),
        port,
        name: None,
    };
    let resolver = Arc::new(Resolver::new(telemetry.clone(), (None, None)));
    let client = Client::new("identity", &addr, credentials.clone(), resolver, &telemetry);
    let client = client.expect("loopback");
    let settings = settings(token.clone());
    tasks.spawn(run(
        credentials.clone(),
        client,
        settings,
        telemetry.identity(),
    ));

    assert_eq!(seen.recv().await.as_deref(), Some("first"));
    fs::write(&token, "second").expect("written");
    assert_eq!(
        seen.recv().await.as_deref(),
        Some("second"),
        "tried again with the new token"
    );
    credentials.ready().await;
    let mut generation = credentials.subscribe();
    assert!(
        seen.recv().await.is_some(),
        "renewed before the certificate is over"
    );
    generation
        .wait_for(|count| *count >= 2)
        .await
        .expect("kept");
    fs::remove_file(&token).expect("removed");

    let mut text = String::new();
    telemetry.encode(&mut text);
    assert!(
        text.contains("control_identity_cert_refreshes_total{result=\"error\"} 1"),
        "{text}"
    );
    assert!(
        text.contains("control_request_total{addr=\"127.0.0.1:"),
        "{text}"
    );
}

#[test]
fn refresh_is_at_70_percent_within_bounds() {
    let settings = Settings {
        min_refresh: Duration::from_secs(10),
        max_refresh: Duration::from_secs(3600),
        ..settings("/nowhere".into())
    };
    for (life_s, wanted_s) in [(20, 14), (5, 10), (100, 70), (86_400, 3600)] {
        let pause = refresh_in(SystemTime::now() + Duration::from_secs(life_s), &settings);
        assert!(
            pause.as_secs_f64() - f64::from(wanted_s) < 0.1,
            "{life_s}: {pause:?}"
        );
        assert!(
            f64::from(wanted_s) - pause.as_secs_f64() < 0.1,
            "{life_s}: {pause:?}"
        );
    }
}

#[test]
fn unusable_answers_are_refused() {
    let authority = Authority::new();
    let (credentials, key) = authority.uncertified(NAME);
    let hour = Duration::from_secs(3600);
    let refuse = |change: fn(&mut CertifyResponse)| {
        let mut answer = good(&authority, &key, hour);
        change(&mut answer);
        install(&credentials, answer).expect_err("refused")
    };
    assert!(matches!(
        refuse(|answer| answer.valid_until = None),
        Error::NoExpiry
    ));
    let past = |answer: &mut CertifyResponse| {
        answer.valid_until = Some((SystemTime::now() - Duration::from_secs(1)).into());
    };
    assert!(matches!(refuse(past), Error::Expired));
    let pem = |answer: &mut CertifyResponse| answer.leaf_certificate = b"-----BEGIN".to_vec();
    assert!(matches!(refuse(pem), Error::Unusable(_)));
    let long = |answer: &mut CertifyResponse| {
        answer.intermediate_certificates = vec![Vec::new(); 17];
    };
    assert!(matches!(refuse(long), Error::ChainLength(17)));
    assert_eq!(Credentials::generation(&credentials), 0);
}
