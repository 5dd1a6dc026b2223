//! The sidecar in a namespace, with its identity and its part of the control plane.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::control::Control;
use crate::net::{Netns, undisturbed};

/// The user that redirection spares.
const PROXY_UID: u32 = 2102;

/// A namespace with a proxy in it.
pub(crate) struct Pod {
    pub(crate) netns: Netns,
    pub(crate) proxy: Child,
    control: JoinHandle<()>,
    _dir: TempDir,
}

impl Pod {
    /// Starts a proxy with the identity `name` and waits until it is ready.
    pub(crate) async fn start(
        netns: Netns,
        name: &str,
        control: &Control,
        env: &[(&str, &str)],
    ) -> Self {
        let dir = TempDir::new().expect("directory");
        let binary = lay_out(dir.path(), name);
        let listener = netns.listen("127.0.0.1:8090");
        let serving = tokio::spawn(control.clone().serve(listener));
        netns.redirect(PROXY_UID);
        let mut command = Command::new(binary);
        for (key, value) in [
            ("IDENTITY_DIR", dir.path().to_str().expect("UTF-8")),
            (
                "IDENTITY_TOKEN_FILE",
                dir.path().join("token").to_str().expect("UTF-8"),
            ),
            ("IDENTITY_TRUST_ANCHORS", control.anchors.as_str()),
            ("IDENTITY_LOCAL_NAME", name),
            ("IDENTITY_SVC_ADDR", "127.0.0.1:8090"),
            ("DESTINATION_SVC_ADDR", "127.0.0.1:8090"),
            ("DESTINATION_PROFILE_NETWORKS", "10.0.0.0/8"),
            ("POLICY_SVC_ADDR", "127.0.0.1:8090"),
            ("POLICY_WORKLOAD", "test"),
            ("INBOUND_PORTS", "8080"),
            ("ADMIN_LISTEN_ADDR", "0.0.0.0:4191"),
            (
                "LOG",
                &std::env::var("PROXY_LOG").unwrap_or_else(|_| "warn".into()),
            ),
        ]
        .iter()
        .copied()
        .chain(env.iter().copied())
        {
            command.env(format!("LINKERD2_PROXY_{key}"), value);
        }
        if let Ok(mutant) = std::env::var("MESHMARK_MUTANT") {
            command.env("MESHMARK_MUTANT", mutant);
        }
        let logs_requests = env.iter().any(|(key, _)| *key == "ACCESS_LOG");
        let stderr = if logs_requests {
            Stdio::piped()
        } else {
            Stdio::inherit()
        };
        let proxy = netns.spawn(command, PROXY_UID, stderr);
        let pod = Self {
            netns,
            proxy,
            control: serving,
            _dir: dir,
        };
        while !pod
            .admin("/ready")
            .await
            .is_some_and(|answer| answer.contains("200 OK"))
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        pod
    }

    /// A connection that this pod's proxy does not see.
    pub(crate) fn connect_past_proxy(&self, addr: SocketAddr) -> TcpStream {
        self.netns.connect_as(PROXY_UID, addr)
    }

    /// The answer of the admin port, if it gives one.
    pub(crate) async fn admin(&self, path: &str) -> Option<String> {
        let addr = "127.0.0.1:4191".parse().expect("address");
        let mut stream = self.netns.connect(addr).ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        Some(answer)
    }

    /// The value of the first sample whose name and labels contain all of `parts`.
    pub(crate) async fn metric(&self, parts: &[&str]) -> Option<f64> {
        let text = self.admin("/metrics").await?;
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let line = { samples }.find(|line| parts.iter().all(|part| line.contains(part)))?;
        line.rsplit(' ').next()?.parse().ok()
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.control.abort();
        let _ = self.proxy.kill();
        let _ = self.proxy.wait();
    }
}

/// The binary, the key, the request and the token, where the proxy's user can read them.
fn lay_out(dir: &Path, name: &str) -> PathBuf {
    let key = KeyPair::generate().expect("key");
    let params = CertificateParams::new(vec![name.to_owned()]).expect("name");
    let csr = params.serialize_request(&key).expect("CSR");
    fs::write(dir.join("key.p8"), key.serialize_der()).expect("write");
    fs::write(dir.join("csr.der"), csr.der()).expect("write");
    fs::write(dir.join("token"), "token").expect("write");
    let binary = dir.join("linkerd2-proxy");
    // No program runs that another process can still write to.
    undisturbed(|| fs::copy(env!("CARGO_BIN_EXE_linkerd2-proxy"), &binary)).expect("copy");
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).expect("mode");
    binary
}
