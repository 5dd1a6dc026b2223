//! Opaque connections: one endpoint for the whole of it.

use std::io;
use std::rc::Rc;

use super::Outbound;
use super::routes::TcpChoice;
use super::target::Target;
use crate::detect::{self, Tls};
use crate::http::error::ProxyError;
use crate::transport::{Io, copy};

/// Carries TLS of the application's own, by the route for the name that it asks for.
///
/// # Errors
/// When it asks for none, or as for [`forward`].
pub(super) async fn forward_tls(
    outbound: &Rc<Outbound>,
    io: Io,
    target: &Target,
) -> io::Result<()> {
    let limit = outbound.config.outbound.direction.detect_timeout;
    let (hello, io) = detect::sni(io, limit).await?;
    let Tls::Hello(Some(sni)) = hello else {
        let error = "unexpected";
        outbound
            .telemetry
            .tcp_error(false, target.addr.socket(), error);
        return Err(io::Error::other("no ClientHello with a server name"));
    };
    forward(outbound, io, target, Some(&sni)).await
}

/// Carries the bytes of `io` to an endpoint of `target` and back; `sni` is the name that TLS asks
/// for, where routes go by it.
///
/// # Errors
/// When no endpoint is reached or either connection breaks.
pub(super) async fn forward(
    outbound: &Rc<Outbound>,
    io: Io,
    target: &Target,
    sni: Option<&str>,
) -> io::Result<()> {
    let refused = |error: &str, text: String| {
        outbound
            .telemetry
            .tcp_error(false, target.addr.socket(), error);
        Err(io::Error::other(text))
    };
    let backend = match target.routes(outbound).tcp(sni) {
        TcpChoice::Backend(backend) => backend,
        TcpChoice::Refused(reason) => return refused("forbidden", reason.to_string()),
        TcpChoice::None => return refused("unexpected", "no route for the connection".to_owned()),
    };
    let acquired = backend
        .acquire(async |endpoint| endpoint.dial(None).await)
        .await;
    // Under way for as long as it is open, and no more than that: connections go where there are few.
    let (_, mut pending, upstream) = match acquired {
        Ok(acquired) => acquired,
        Err(error) => return refused(ProxyError::label(&error), error.to_string()),
    };
    pending.unmeasured();
    copy::duplex(io, upstream).await
}
