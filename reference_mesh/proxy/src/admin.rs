//! The admin port (4191): health, metrics, certificate, log level, environment, shutdown.
//!
//! It has its own listener and runs on the control thread, so that a scrape never costs a request.
//! Connections are treated as those of any inbound port: mesh TLS is terminated when it is meant
//! for this workload, and the policy of the port decides who may ask.

mod server;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body;
use http_body_util::{BodyExt as _, Full, Limited};
use pem::{EncodeConfig, LineEnding, Pem};
use tokio::sync::Notify;
use tokio::time::timeout;

pub use self::server::{Server, serve};
use crate::readiness::Readiness;
use crate::telemetry::Telemetry;
use crate::telemetry::log::Level;
use crate::tls::Credentials;

/// Largest request body that is read, in bytes: a log filter.
const MAX_BODY_BYTES: usize = 4096;
/// Longest wait for it.
const BODY_LIMIT: Duration = Duration::from_secs(5);

/// Answers admin requests. Cheap to clone.
#[derive(Clone)]
pub struct Admin(Arc<Inner>);

struct Inner {
    telemetry: Telemetry,
    readiness: Readiness,
    credentials: Credentials,
    level: Option<Level>,
    shutdown: Option<Arc<Notify>>,
}

// === impl Admin ===

impl Admin {
    /// `level` is none when the log cannot be changed, `shutdown` when the endpoint is not enabled.
    #[must_use]
    pub fn new(
        telemetry: Telemetry,
        readiness: Readiness,
        credentials: Credentials,
        level: Option<Level>,
        shutdown: Option<Arc<Notify>>,
    ) -> Self {
        Self(Arc::new(Inner {
            telemetry,
            readiness,
            credentials,
            level,
            shutdown,
        }))
    }

    /// Answers one request of `client`.
    pub async fn handle<B>(&self, request: Request<B>, client: SocketAddr) -> Response<Full<Bytes>>
    where
        B: Body + Send,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let local = client.ip().to_canonical().is_loopback();
        let (head, body) = request.into_parts();
        match head.uri.path() {
            "/live" => text(StatusCode::OK, "live\n"),
            "/ready" => self.ready(),
            "/metrics" if is_read(&head.method) => self.metrics(&head.headers),
            "/env.json" if is_read(&head.method) => environment(head.uri.query()),
            "/certificate.pem" if is_read(&head.method) => self.certificate(),
            "/proxy-log-level" | "/shutdown" if !local => text(
                StatusCode::FORBIDDEN,
                "only for clients on this pod's loopback\n",
            ),
            "/proxy-log-level" => self.log_level(&head.method, body).await,
            "/shutdown" => self.shut_down(&head.method),
            "/metrics" | "/env.json" | "/certificate.pem" => method_not_allowed("GET, HEAD"),
            _ => text(StatusCode::NOT_FOUND, "not found\n"),
        }
    }

    fn ready(&self) -> Response<Full<Bytes>> {
        match self.0.readiness.pending()[..] {
            [] => text(StatusCode::OK, "ready\n"),
            ref pending => {
                let message = format!("not ready: waiting for {}\n", pending.join(", "));
                text(StatusCode::SERVICE_UNAVAILABLE, message)
            }
        }
    }

    fn metrics(&self, headers: &HeaderMap) -> Response<Full<Bytes>> {
        let mut out = String::with_capacity(32 * 1024);
        self.0.telemetry.encode(&mut out);
        let mut response = if accepts_gzip(headers)
            && let Ok(compressed) = gzip(out.as_bytes())
        {
            let mut response = text(StatusCode::OK, compressed);
            let value = HeaderValue::from_static("gzip");
            response
                .headers_mut()
                .insert(header::CONTENT_ENCODING, value);
            response
        } else {
            text(StatusCode::OK, out)
        };
        let kind = HeaderValue::from_static("text/plain; version=0.0.4");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    }

    /// What any peer is shown in a handshake (RFC 7468), for those who cannot make one, as clients
    /// of the API server's pod proxy.
    fn certificate(&self) -> Response<Full<Bytes>> {
        let chain = self.0.credentials.chain();
        if chain.is_empty() {
            return text(StatusCode::SERVICE_UNAVAILABLE, "no certificate yet\n");
        }
        let blocks = chain.iter().map(|der| Pem::new("CERTIFICATE", &**der));
        let config = EncodeConfig::new().set_line_ending(LineEnding::LF);
        let mut response = text(
            StatusCode::OK,
            pem::encode_many_config(&blocks.collect::<Vec<_>>(), config),
        );
        let kind = HeaderValue::from_static("application/pem-certificate-chain");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    }

    async fn log_level<B>(&self, method: &Method, body: B) -> Response<Full<Bytes>>
    where
        B: Body + Send,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let Some(level) = &self.0.level else {
            return text(StatusCode::NOT_FOUND, "the log level cannot be changed\n");
        };
        match *method {
            Method::GET => text(StatusCode::OK, level.get() + "\n"),
            Method::PUT => {
                let body = Limited::new(body, MAX_BODY_BYTES).collect();
                let Ok(Ok(body)) = timeout(BODY_LIMIT, body).await else {
                    let message = format!("no filter of at most {MAX_BODY_BYTES} bytes in time\n");
                    return text(StatusCode::BAD_REQUEST, message);
                };
                let filter = String::from_utf8(body.to_bytes().into());
                match filter.map(|filter| level.set(filter.trim())) {
                    Ok(Ok(())) => text(StatusCode::NO_CONTENT, ""),
                    Ok(Err(error)) => text(StatusCode::BAD_REQUEST, format!("{error}\n")),
                    Err(_) => text(StatusCode::BAD_REQUEST, "the filter is not UTF-8\n"),
                }
            }
            _ => method_not_allowed("GET, PUT"),
        }
    }

    fn shut_down(&self, method: &Method) -> Response<Full<Bytes>> {
        match &self.0.shutdown {
            None => text(StatusCode::NOT_FOUND, "shutdown endpoint is not enabled\n"),
            Some(shutdown) if *method == Method::POST => {
                tracing::info!("shutdown asked for on the admin port");
                shutdown.notify_one();
                text(StatusCode::OK, "shutdown\n")
            }
            Some(_) => method_not_allowed("POST"),
        }
    }
}

/// The environment, or the variables that the query names (`?A&B`).
fn environment(query: Option<&str>) -> Response<Full<Bytes>> {
    let wanted: Option<Vec<_>> = query.map(|query| query.split('&').collect());
    let all = std::env::vars_os().map(|(key, value)| {
        (
            key.to_string_lossy().into_owned(),
            value.to_string_lossy().into_owned(),
        )
    });
    let chosen: BTreeMap<_, _> = all
        .filter(|(key, _)| {
            wanted
                .as_ref()
                .is_none_or(|wanted| wanted.contains(&key.as_str()))
        })
        .collect();
    let pairs: Vec<_> = chosen
        .iter()
        .map(|(key, value)| format!("{}:{}", json(key), json(value)))
        .collect();
    let mut response = text(StatusCode::OK, format!("{{{}}}\n", pairs.join(",")));
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// A JSON string (RFC 8259 7).
fn json(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if u32::from(c) < 0x20 => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter();
    let mut codings = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|v| v.split(','));
    codings.any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        name.trim().eq_ignore_ascii_case("gzip") && !matches!(weight.trim(), "q=0" | "q=0.0")
    })
}

fn gzip(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 8), Compression::fast());
    encoder.write_all(bytes)?;
    encoder.finish()
}

fn is_read(method: &Method) -> bool {
    *method == Method::GET || *method == Method::HEAD
}

fn method_not_allowed(allowed: &'static str) -> Response<Full<Bytes>> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "");
    response
        .headers_mut()
        .insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use super::{Admin, json};
    use crate::readiness::Readiness;
    use crate::telemetry::Telemetry;
    use crate::tls::test_pki::Authority;
    use bytes::Bytes;
    use flate2::read::GzDecoder;
    use http::{Request, Response, StatusCode};
    use http_body_util::{BodyExt as _, Full};
    use std::io::Read as _;
    use std::sync::Arc;
    use std::time::Duration;
    use tokio::sync::Notify;

    const LOCAL: &str = "127.0.0.1:9";
    const REMOTE: &str = "10.1.2.3:9";

    fn admin(readiness: &Readiness, shutdown: Option<Arc<Notify>>) -> Admin {
        Admin::new(
            Telemetry::new(Duration::from_secs(1)),
            readiness.clone(),
            Authority::new().credentials("web"),
            None,
            shutdown,
        )
    }

    async fn ask(admin: &Admin, method: &str, path: &str, client: &str) -> Response<Bytes> {
        let request = Request::builder().method(method).uri(path);
        let request = request
            .header("accept-encoding", "gzip")
            .body(Full::new(Bytes::new()));
        let client = client.parse().expect("valid");
        let response = admin.handle(request.expect("valid"), client).await;
        let (head, body) = response.into_parts();
        Response::from_parts(head, body.collect().await.expect("in memory").to_bytes())
    }

    #[tokio::test]
    async fn ready_names_what_is_awaited() {
        let readiness = Readiness::new();
        let guard = readiness.task("identity");
        let admin = admin(&readiness, None);
        let answer = ask(&admin, "GET", "/ready", REMOTE).await;
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.body(), "not ready: waiting for identity\n");
        drop(guard);
        assert_eq!(ask(&admin, "GET", "/ready", REMOTE).await.body(), "ready\n");
        assert_eq!(ask(&admin, "GET", "/live", REMOTE).await.body(), "live\n");
    }

    #[tokio::test]
    async fn metrics_are_compressed_when_asked() {
        let answer = ask(&admin(&Readiness::new(), None), "GET", "/metrics", REMOTE).await;
        assert_eq!(answer.headers()["content-encoding"], "gzip");
        let mut text = String::new();
        GzDecoder::new(&answer.body()[..])
            .read_to_string(&mut text)
            .expect("gzip");
        assert!(text.contains("\nprocess_threads "), "{text}");
    }

    #[tokio::test]
    async fn the_certificate_is_what_peers_see() {
        let admin = admin(&Readiness::new(), None);
        let answer = ask(&admin, "GET", "/certificate.pem", REMOTE).await;
        let shown = pem::parse_many(answer.body()).expect("pem");
        let shown: Vec<_> = shown.iter().map(pem::Pem::contents).collect();
        let chain = admin.0.credentials.chain();
        assert!(!chain.is_empty());
        assert_eq!(shown, chain.iter().map(|der| &**der).collect::<Vec<_>>());
        assert_eq!(
            ask(&admin, "PUT", "/certificate.pem", REMOTE)
                .await
                .headers()["allow"],
            "GET, HEAD"
        );
    }

    #[tokio::test]
    async fn shutdown_is_for_local_clients_and_only_when_enabled() {
        let notify = Arc::new(Notify::new());
        let enabled = admin(&Readiness::new(), Some(notify.clone()));
        let status = async |admin, method, client| ask(admin, method, "/shutdown", client).await;
        assert_eq!(
            status(&enabled, "POST", REMOTE).await.status(),
            StatusCode::FORBIDDEN
        );
        assert_eq!(
            status(&enabled, "GET", LOCAL).await.status(),
            StatusCode::METHOD_NOT_ALLOWED
        );
        assert_eq!(
            status(&enabled, "POST", LOCAL).await.status(),
            StatusCode::OK
        );
        notify.notified().await;
        let disabled = admin(&Readiness::new(), None);
        assert_eq!(
            status(&disabled, "POST", LOCAL).await.status(),
            StatusCode::NOT_FOUND
        );
    }

    #[test]
    fn strings_are_json() {
        assert_eq!(json("a\"b\\c\n"), r#""a\"b\\c\u000a""#);
    }
}
