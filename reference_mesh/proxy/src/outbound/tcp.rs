//! Opaque connections: one endpoint for the whole of it.

use std::io;
use std::rc::Rc;

use super::Outbound;
use super::routes::TcpChoice;
use super::target::Target;
use crate::http::error::ProxyError;
use crate::transport::{Io, copy};

/// Carries the bytes of `io` to an endpoint of `target` and back.
///
/// # Errors
/// When no endpoint is reached or either connection breaks.
pub(super) async fn forward(outbound: &Rc<Outbound>, io: Io, target: &Target) -> io::Result<()> {
    let refused = |error: &str, text: String| {
        outbound
            .telemetry
            .tcp_error(false, Some(target.addr), error);
        Err(io::Error::other(text))
    };
    let backend = match target.routes(outbound).tcp() {
        TcpChoice::Backend(backend) => backend,
        TcpChoice::Refused(reason) => return refused("forbidden", reason.to_string()),
        TcpChoice::None => return refused("unexpected", "no route for the connection".to_owned()),
    };
    let acquired = backend
        .acquire(async |endpoint| endpoint.dial(None).await)
        .await;
    let (endpoint, upstream) = match acquired {
        Ok(acquired) => acquired,
        Err(error) => return refused(ProxyError::label(&error), error.to_string()),
    };
    // Under way for as long as it is open: connections go where there are few.
    let _pending = endpoint.load.begin();
    copy::duplex(io, upstream).await
}
