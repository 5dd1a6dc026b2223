//! Makes what the proxy needs to ask for a certificate, then becomes the proxy.
//!
//! The proxy expects `key.p8` and `csr.der` in `LINKERD2_PROXY_IDENTITY_DIR`. This writes them when
//! they are absent (a restarted container keeps its key), checks what else the identity controller
//! will ask for, and executes `/usr/lib/linkerd/linkerd2-proxy`, or the program named by its first
//! argument, with the remaining arguments.

#![forbid(unsafe_code)]

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use thiserror::Error;

const PROXY: &str = "/usr/lib/linkerd/linkerd2-proxy";
const ENV_DIR: &str = "LINKERD2_PROXY_IDENTITY_DIR";
const ENV_NAME: &str = "LINKERD2_PROXY_IDENTITY_LOCAL_NAME";
const ENV_TOKEN: &str = "LINKERD2_PROXY_IDENTITY_TOKEN_FILE";
const ENV_ANCHORS: &str = "LINKERD2_PROXY_IDENTITY_TRUST_ANCHORS";

/// Longest common name that X.509 allows (RFC 5280, ub-common-name).
const MAX_COMMON_NAME_BYTES: usize = 64;

/// As linkerd2-proxy exits when its configuration is bad (EX_USAGE).
const EXIT_USAGE: u8 = 64;

#[derive(Debug, Error)]
enum Error {
    #[error("{0} is not set")]
    Unset(&'static str),
    #[error("{ENV_NAME}={0:?} is no DNS name: {1}")]
    Name(String, rcgen::Error),
    #[error("{ENV_TOKEN}={0:?}: {1}; is the token volume mounted?")]
    Token(PathBuf, io::Error),
    #[error("{ENV_TOKEN}={0:?} is empty")]
    EmptyToken(PathBuf),
    #[error("{ENV_ANCHORS}: {0}; it must hold PEM certificates, not a path")]
    Anchors(String),
    #[error("cannot make a key: {0}")]
    Key(rcgen::Error),
    #[error("cannot make a certificate signing request: {0}")]
    Csr(rcgen::Error),
    #[error("cannot write {0:?}: {1}; {ENV_DIR} must be a writable directory")]
    Write(PathBuf, io::Error),
    #[error("cannot execute {0:?}: {1}")]
    Exec(PathBuf, io::Error),
}

fn main() -> ExitCode {
    let error = match prepare() {
        Ok(()) => become_proxy(),
        Err(error) => error,
    };
    eprintln!("linkerd2-proxy-identity: {error}");
    match error {
        Error::Exec(..) => ExitCode::FAILURE,
        _ => ExitCode::from(EXIT_USAGE),
    }
}

fn prepare() -> Result<(), Error> {
    let dir = PathBuf::from(variable(ENV_DIR)?);
    let name = variable(ENV_NAME)?;
    check_token(Path::new(&variable(ENV_TOKEN)?))?;
    check_anchors(&variable(ENV_ANCHORS)?)?;
    let (key_path, csr_path) = (dir.join("key.p8"), dir.join("csr.der"));
    if has_content(&key_path) && has_content(&csr_path) {
        return Ok(());
    }
    let (key, csr) = make(&name)?;
    write(&key_path, &key)?;
    write(&csr_path, &csr)
}

fn become_proxy() -> Error {
    let mut arguments = std::env::args_os().skip(1);
    let program = arguments
        .next()
        .map_or_else(|| PathBuf::from(PROXY), PathBuf::from);
    let error = Command::new(&program).args(arguments).exec();
    Error::Exec(program, error)
}

/// An empty variable counts as unset, as in linkerd2-proxy.
fn variable(name: &'static str) -> Result<String, Error> {
    std::env::var(name)
        .ok()
        .filter(|value| !value.is_empty())
        .ok_or(Error::Unset(name))
}

fn check_token(path: &Path) -> Result<(), Error> {
    let metadata = fs::metadata(path).map_err(|error| Error::Token(path.into(), error))?;
    if metadata.len() == 0 {
        Err(Error::EmptyToken(path.into()))
    } else {
        Ok(())
    }
}

fn check_anchors(pem: &str) -> Result<(), Error> {
    let mut count = 0;
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|error| Error::Anchors(error.to_string()))?;
        webpki::anchor_from_trusted_cert(&certificate)
            .map_err(|error| Error::Anchors(format!("certificate {}: {error}", count + 1)))?;
        count += 1;
    }
    if count == 0 {
        Err(Error::Anchors("no certificate in it".to_owned()))
    } else {
        Ok(())
    }
}

fn has_content(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.len() > 0)
}

/// A P-256 key (PKCS#8) and a request for a certificate with this name as the only SAN, and as
/// common name where it is short enough for one. Both DER.
fn make(name: &str) -> Result<(Vec<u8>, Vec<u8>), Error> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(Error::Key)?;
    let params = CertificateParams::new([name.to_owned()]);
    let mut params = params.map_err(|error| Error::Name(name.to_owned(), error))?;
    params.distinguished_name = DistinguishedName::new();
    if name.len() <= MAX_COMMON_NAME_BYTES {
        params.distinguished_name.push(DnType::CommonName, name);
    }
    let csr = params.serialize_request(&key).map_err(Error::Csr)?;
    Ok((key.serialize_der(), csr.der().to_vec()))
}

/// Writes a file that only this user reads, whole or not at all.
fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let partial = path.with_extension("partial");
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&partial)
        .and_then(|mut file| file.write_all(bytes))
        .and_then(|()| fs::rename(&partial, path));
    written.map_err(|error| Error::Write(path.into(), error))
}

#[cfg(test)]
mod tests {
    use super::{check_anchors, make};
    use x509_parser::certification_request::X509CertificationRequest;
    use x509_parser::prelude::{FromDer as _, ParsedExtension};

    const NAME: &str = "web.ns.serviceaccount.identity.linkerd.cluster.local";

    #[test]
    fn the_request_has_the_name_twice_and_nothing_else() {
        let (_, csr) = make(NAME).expect("made");
        let (_, csr) = X509CertificationRequest::from_der(&csr).expect("parses");
        let subject = csr.certification_request_info.subject.to_string();
        assert_eq!(subject, format!("CN={NAME}"));
        let extensions: Vec<_> = csr.requested_extensions().expect("some").collect();
        let [ParsedExtension::SubjectAlternativeName(sans)] = extensions[..] else {
            panic!("one extension, not {extensions:?}");
        };
        assert_eq!(sans.general_names.len(), 1);
        assert!(format!("{:?}", sans.general_names[0]).contains(NAME));
    }

    #[test]
    fn a_long_name_is_a_san_only() {
        let name = format!("{}.{NAME}", "a".repeat(63));
        let (_, csr) = make(&name).expect("made");
        let (_, csr) = X509CertificationRequest::from_der(&csr).expect("parses");
        assert_eq!(csr.certification_request_info.subject.to_string(), "");
        let mut extensions = csr.requested_extensions().expect("some");
        assert!(format!("{:?}", extensions.next()).contains(&name));
    }

    #[test]
    fn anchors_must_be_certificates() {
        let error = check_anchors("/etc/anchors.pem")
            .expect_err("refused")
            .to_string();
        assert!(error.contains("no certificate in it"), "{error}");
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let error = check_anchors(broken).expect_err("refused").to_string();
        assert!(error.contains("certificate 1:"), "{error}");
    }
}
