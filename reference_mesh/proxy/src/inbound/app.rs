//! The application behind one address: the connections to it.

use std::net::SocketAddr;
use std::rc::Rc;

use ::http::{Request, Response, Version};
use tokio::sync::Mutex;

use super::Inbound;
use crate::http::error::ProxyError;
use crate::http::{Body, Interim, Tunnel, h1, h2, headers, orig_proto};
use crate::outbound::{is_idempotent, prepare_h1};
use crate::telemetry::{Transport, TransportLabels};
use crate::transport::Io;
use crate::transport::connect::{ConnectError, Dialer};

/// Times that a request is given to another connection because its own had just ended.
const MAX_REDISPATCHES: usize = 3;

/// See the module.
pub(super) struct App {
    addr: SocketAddr,
    dialer: Dialer,
    settings: h2::Settings,
    transport: Transport,
    pool: Rc<h1::Pool>,
    shared: h2::Clients,
    /// Held while a shared connection is made, so that it is made once.
    connecting: Mutex<()>,
}

// === impl App ===

impl App {
    pub(super) fn new(inbound: &Inbound, addr: SocketAddr) -> Rc<Self> {
        let direction = &inbound.config.inbound.direction;
        Rc::new(Self {
            addr,
            dialer: inbound.dialer.clone(),
            settings: inbound.config.h2,
            transport: inbound.telemetry.transport(TransportLabels::InboundConnect),
            pool: h1::Pool::new(direction.max_idle_per_endpoint, direction.pool_idle),
            shared: h2::Clients::default(),
            connecting: Mutex::default(),
        })
    }

    /// Sends `request` in its own protocol.
    pub(super) async fn send(
        &self,
        mut request: Request<Body>,
        interim: &Interim,
    ) -> Result<(Response<Body>, Option<Tunnel>), ProxyError> {
        if request.version() != Version::HTTP_2 {
            prepare_h1(&mut request);
            return self.send_h1(request, interim).await;
        }
        headers::strip_hop_by_hop(request.headers_mut());
        if let Some(authority) = headers::authority(&request) {
            orig_proto::to_h2(&mut request, authority);
        }
        for _ in 0..MAX_REDISPATCHES {
            let client = self.shared().await?;
            match client.send(request, interim).await {
                Ok(response) => return Ok((response, None)),
                Err(h2::SendError::Unsent(unsent)) => request = *unsent,
                Err(error) => return Err(error.into()),
            }
        }
        Err(ProxyError::Io(
            "connections close before they take the request".into(),
        ))
    }

    async fn send_h1(
        &self,
        mut request: Request<Body>,
        interim: &Interim,
    ) -> Result<(Response<Body>, Option<Tunnel>), ProxyError> {
        for _ in 0..MAX_REDISPATCHES {
            let pooled = if h1::is_upgrade(&request) {
                None
            } else {
                self.pool.take()
            };
            let client = match pooled {
                Some(client) => client,
                None => h1::Client::new(self.dial().await?),
            };
            match client.send(request, interim, &self.pool).await {
                Ok(answer) => return Ok(answer),
                Err(h1::SendError::Unanswered(unsent)) if is_idempotent(&unsent) => {
                    request = *unsent;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(ProxyError::Io(
            "connections close before they take the request".into(),
        ))
    }

    async fn shared(&self) -> Result<h2::Client, ConnectError> {
        if let Some(client) = self.shared.take() {
            return Ok(client);
        }
        let _connecting = self.connecting.lock().await;
        if let Some(client) = self.shared.take() {
            return Ok(client);
        }
        let client = h2::Client::handshake(self.dial().await?, self.settings).await?;
        self.shared.add(client.clone());
        Ok(client)
    }

    async fn dial(&self) -> Result<Io, ConnectError> {
        let tcp = self.dialer.tcp(self.addr).await?;
        Ok(Io::plain(tcp).counted(self.transport.open()))
    }
}
