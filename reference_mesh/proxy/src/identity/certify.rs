//! The certificate's life: asked for at the start, renewed when most of it is over.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use linkerd2_proxy_api::identity::identity_client::IdentityClient;
use linkerd2_proxy_api::identity::{CertifyRequest, CertifyResponse};
use rustls::pki_types::CertificateDer;
use thiserror::Error;
use tokio::time::{sleep, timeout};

use super::Id;
use crate::control::{Backoff, Client};
use crate::mutants::{self, Mutant};
use crate::telemetry::IdentityMetrics;
use crate::tls::{self, Credentials};

/// Share of a certificate's life after which it is renewed.
const REFRESH_AT: f64 = 0.7;
/// Longest wait for one answer. Generous: an issuer that is not ready may hold the call.
const CALL_LIMIT: Duration = Duration::from_secs(60);
/// Shortest such wait, however little of the certificate's life is left.
const MIN_CALL_LIMIT: Duration = Duration::from_secs(5);
/// First pause after a failure. Linkerd waits its minimum refresh time (10 s) here; a new pod would
/// rather not.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Intermediate certificates that are taken.
const MAX_INTERMEDIATES: usize = 16;
/// Largest token that is sent, in bytes.
const MAX_TOKEN_BYTES: u64 = 64 * 1024;

/// How this workload proves to the issuer who it is, and how often it asks.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The identity asked for.
    pub id: Id,
    /// Certificate signing request, DER.
    pub csr: Vec<u8>,
    /// Service account token; read again for each call, since the kubelet rotates it.
    pub token_file: PathBuf,
    /// Shortest time between two certificates.
    pub min_refresh: Duration,
    /// Longest.
    pub max_refresh: Duration,
}

/// Why there is no new certificate.
#[derive(Debug, Error)]
enum Error {
    #[error("token file {0}: {1}")]
    Token(PathBuf, io::Error),
    #[error("token file {0}: empty or larger than {MAX_TOKEN_BYTES} bytes")]
    TokenSize(PathBuf),
    #[error("no answer from the identity controller in {0:?}")]
    Timeout(Duration),
    #[error("the identity controller refused: {0}")]
    Refused(#[from] tonic::Status),
    #[error("the identity controller's answer has no end of validity")]
    NoExpiry,
    #[error("the identity controller's answer is already over")]
    Expired,
    #[error(
        "the identity controller's answer has {0} intermediates, more than {MAX_INTERMEDIATES}"
    )]
    ChainLength(usize),
    #[error("unusable certificate: {0}")]
    Unusable(#[from] tls::Error),
}

/// Keeps `credentials` supplied. Never returns.
pub async fn run(
    credentials: Credentials,
    client: Client,
    settings: Settings,
    metrics: IdentityMetrics,
) {
    let mut client = IdentityClient::new(client);
    let mut backoff = Backoff::new(FIRST_PAUSE, settings.min_refresh.max(FIRST_PAUSE));
    loop {
        let pause = match renew(&credentials, &mut client, &settings).await {
            Ok(expiry) => {
                metrics.refreshed(expiry);
                backoff.reset();
                let pause = refresh_in(expiry, &settings);
                tracing::info!(id = %settings.id, ?pause, "certified");
                pause
            }
            Err(error) => {
                metrics.failed();
                let pause = backoff.advance();
                tracing::warn!(id = %settings.id, %error, ?pause, "not certified");
                pause
            }
        };
        if mutants::active(Mutant::RotationNeverRenews) && credentials.generation() > 0 {
            std::future::pending::<()>().await;
        }
        sleep(pause).await;
    }
}

async fn renew(
    credentials: &Credentials,
    client: &mut IdentityClient<Client>,
    settings: &Settings,
) -> Result<SystemTime, Error> {
    let request = CertifyRequest {
        identity: settings.id.to_string(),
        token: read_token(&settings.token_file)?,
        certificate_signing_request: settings.csr.clone(),
    };
    let limit = call_limit(credentials.expiry());
    let answer = timeout(limit, client.certify(request)).await;
    let answer = answer.map_err(|_| Error::Timeout(limit))??.into_inner();
    install(credentials, answer)
}

fn install(credentials: &Credentials, answer: CertifyResponse) -> Result<SystemTime, Error> {
    let until = answer.valid_until.ok_or(Error::NoExpiry)?;
    let seconds = u64::try_from(until.seconds).map_err(|_| Error::Expired)?;
    let nanos = u32::try_from(until.nanos)
        .unwrap_or_default()
        .min(999_999_999);
    let expiry = UNIX_EPOCH
        .checked_add(Duration::new(seconds, nanos))
        .filter(|expiry| *expiry > SystemTime::now())
        .ok_or(Error::Expired)?;
    let intermediates = answer.intermediate_certificates;
    if intermediates.len() > MAX_INTERMEDIATES {
        return Err(Error::ChainLength(intermediates.len()));
    }
    let chain = [answer.leaf_certificate].into_iter().chain(intermediates);
    credentials.renew(chain.map(CertificateDer::from).collect(), expiry)?;
    Ok(expiry)
}

fn read_token(path: &PathBuf) -> Result<Vec<u8>, Error> {
    let failed = |error| Error::Token(path.clone(), error);
    let size = fs::metadata(path).map_err(failed)?.len();
    if size == 0 || size > MAX_TOKEN_BYTES {
        return Err(Error::TokenSize(path.clone()));
    }
    fs::read(path).map_err(failed)
}

/// Half of what is left of the certificate's life, so that there is time for a second try.
fn call_limit(expiry: Option<SystemTime>) -> Duration {
    let left = expiry.map(|expiry| expiry.duration_since(SystemTime::now()).unwrap_or_default());
    left.map_or(CALL_LIMIT, |left| {
        (left / 2).clamp(MIN_CALL_LIMIT, CALL_LIMIT)
    })
}

fn refresh_in(expiry: SystemTime, settings: &Settings) -> Duration {
    let life = expiry.duration_since(SystemTime::now()).unwrap_or_default();
    let longest = settings.max_refresh.max(settings.min_refresh);
    life.mul_f64(REFRESH_AT)
        .clamp(settings.min_refresh, longest)
}

#[cfg(test)]
mod tests;
