//! Opaque connections to the application.

use std::io;

use super::{Inbound, Session};
use crate::mutants::{self, Mutant};
use crate::policy::inbound::authorize;
use crate::telemetry::TransportLabels;
use crate::transport::{Io, copy};

/// Carries the bytes of `io` to the application and back, for as long as policy admits the client.
///
/// # Errors
/// When the client is not admitted, or no longer; when either connection breaks.
pub(super) async fn forward(inbound: &Inbound, io: Io, session: &Session) -> io::Result<()> {
    if !admit(inbound, session) {
        let policy = session.policy();
        inbound
            .telemetry
            .tcp_denied(session.labels(&policy))
            .increment();
        tracing::info!(
            client = %session.client,
            target = %session.target,
            server = policy.meta.name(),
            "Connection denied"
        );
        if mutants::active(Mutant::DeniedHeld) {
            std::future::pending::<()>().await;
        }
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let tcp = match inbound.connect(session.target).await {
        Ok(tcp) => tcp,
        Err(error) => {
            inbound
                .telemetry
                .tcp_error(true, Some(session.target), error.label());
            return Err(io::Error::other(error));
        }
    };
    let open = inbound
        .telemetry
        .transport(TransportLabels::InboundConnect)
        .open();
    let app = Io::plain(tcp).counted(open);
    tokio::select! {
        result = copy::duplex(io, app) => result,
        () = revoked(session) => {
            let policy = session.policy();
            inbound.telemetry.tcp_terminated(session.labels(&policy)).increment();
            Err(io::ErrorKind::PermissionDenied.into())
        }
    }
}

/// Whether the policy in force lets the client in; counted if so.
fn admit(inbound: &Inbound, session: &Session) -> bool {
    if mutants::active(Mutant::OpaqueNotEnforced) {
        return true;
    }
    let policy = session.policy();
    match authorize(&policy.authorizations, &session.as_client()) {
        Some(authorization) => {
            let labels = session.labels(&policy);
            inbound
                .telemetry
                .tcp_allowed(labels, &authorization.meta)
                .increment();
            true
        }
        None => false,
    }
}

/// Waits until a change of policy no longer lets the client in.
async fn revoked(session: &Session) {
    let mut policy = session.policy.borrow().clone();
    while policy.changed().await.is_ok() {
        let policy = policy.borrow_and_update().clone();
        let admitted = authorize(&policy.authorizations, &session.as_client()).is_some()
            && !(mutants::active(Mutant::ResetsOnChange) && policy.meta.kind() != "default");
        if !admitted && !mutants::active(Mutant::OpaqueNotEnforced) {
            tracing::info!(
                client = %session.client,
                target = %session.target,
                server = policy.meta.name(),
                "Connection terminated by a change of policy"
            );
            return;
        }
    }
    // The policy will not change any more.
    std::future::pending().await
}
