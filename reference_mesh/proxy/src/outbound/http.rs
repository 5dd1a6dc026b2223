//! Requests that the application sends.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use ::http::header::CONNECTION;
use ::http::uri::Authority;
use ::http::{Method, Request, Response, StatusCode, Version};
use tokio::time::Instant;

use super::Outbound;
use super::endpoint::{Endpoint, Sent};
use super::ingress::Destination;
use super::observer::{Exchange, GrpcStatus, Observer};
use super::routes::{Choice, Routes, Rule};
use super::target::{Kind, Target, Used, http_routes};
use crate::balance::Pending;
use crate::http::error::{Client, ProxyError};
use crate::http::filters;
use crate::http::headers::{
    self, DST_CANONICAL, ORIG_PROTO, PROXY_CONNECTION, PROXY_ERROR, REQUIRE_ID,
};
use crate::http::{Body, Interim, Reply, Service as HttpService, Tunnel};
use crate::mutants::{self, Mutant};
use crate::policy::matching;
use crate::policy::outbound::{Dispatcher, Protocol};
use crate::telemetry::Direction;

/// Times that a request is given to another connection because its own had just ended.
const MAX_REDISPATCHES: usize = 3;

/// Routes the requests of one client connection.
pub(super) struct Service {
    outbound: Rc<Outbound>,
    destination: Destination,
    client: SocketAddr,
    kind: Kind,
}

/// A response from an endpoint.
struct Answer {
    response: Response<Body>,
    tunnel: Option<Tunnel>,
    close: bool,
}

// === impl Service ===

impl Service {
    pub(super) fn new(
        outbound: &Rc<Outbound>,
        destination: Destination,
        client: SocketAddr,
        kind: Kind,
    ) -> Self {
        Self {
            outbound: Rc::clone(outbound),
            destination,
            client,
            kind,
        }
    }

    /// The rule for `request`, and how many bytes of the path it matched.
    fn route<B>(
        &self,
        routes: &Routes,
        request: &Request<B>,
        authority: &Authority,
    ) -> Result<(Rc<Rule>, usize), ProxyError> {
        if let Protocol::Invalid(reason) = &routes.policy.protocol {
            return Err(ProxyError::InvalidPolicy(reason.clone()));
        }
        let http = http_routes(&routes.policy, self.kind).ok_or(ProxyError::NoRoute)?;
        let view = matching::Request {
            host: Some(authority.host()),
            uri: request.uri(),
            method: request.method(),
            headers: request.headers(),
        };
        let found = http.find(&view).ok_or(ProxyError::NoRoute)?;
        let rule = routes.rule(found.policy).ok_or(ProxyError::NoRoute)?;
        Ok((Rc::clone(rule), found.path_len))
    }

    /// One attempt to carry `request` by `rule`. Timeouts and retries of the route wrap this call.
    /// Whatever comes of it, what an endpoint has taken is in `exchange`.
    async fn dispatch(
        &self,
        rule: &Rule,
        mut request: Request<Body>,
        authority: Authority,
        path_len: usize,
        interim: &Interim,
        exchange: &mut Option<Exchange>,
    ) -> Result<Answer, ProxyError> {
        let choice = rule
            .choose()
            .ok_or_else(|| ProxyError::Dispatcher("no backend for the route".into()))?;
        filters::on_request(&choice.filters, &mut request, path_len)?;
        let required = request.headers_mut().remove(REQUIRE_ID);
        for _ in 0..MAX_REDISPATCHES {
            let connect =
                async |endpoint: &Endpoint| endpoint.connection(endpoint.carriage(&request)).await;
            let (endpoint, mut pending, connection) = choice.backend.acquire(connect).await?;
            if let Some(required) = &required
                && !required.to_str().is_ok_and(|id| endpoint.satisfies(id))
            {
                pending.unmeasured();
                return Err(ProxyError::RequireId);
            }
            *exchange = Some(begin(choice, &endpoint, pending));
            match endpoint
                .send(connection, request, authority.clone(), interim)
                .await?
            {
                Sent::Answered(mut response, tunnel) => {
                    filters::on_response(&choice.filters, response.headers_mut());
                    let close = choice.backend.is_forward()
                        && response.headers().contains_key(PROXY_CONNECTION);
                    return Ok(Answer {
                        response,
                        tunnel,
                        close,
                    });
                }
                Sent::Unsent(unsent) => {
                    *exchange = None;
                    request = *unsent;
                }
            }
        }
        Err(ProxyError::Io(
            "connections close before they take the request".into(),
        ))
    }

    /// Routes the request and carries it to an endpoint.
    async fn exchange(
        &self,
        mut request: Request<Body>,
        interim: &Interim,
        observer: &mut Observer,
    ) -> Result<Answer, ProxyError> {
        if observer.in_flight.is_none() {
            return Err(ProxyError::LoadShed);
        }
        if request.version() == Version::HTTP_2 && *request.method() == Method::CONNECT {
            return Err(ProxyError::Unsupported(
                "CONNECT over HTTP/2 is not supported",
            ));
        }
        let found;
        let target = match &self.destination {
            Destination::Fixed(target) => target,
            Destination::Named(by_name) => {
                let headers = request.headers_mut();
                found = Box::pin(by_name.target(&self.outbound, headers)).await?;
                observer.named = Some(Used(Rc::clone(&found)));
                &found
            }
        };
        let authority = prepare(&mut request, target);
        let routes = target.routes(&self.outbound);
        let (rule, path_len) = self.route(&routes, &request, &authority)?;
        let counters = observer.route.insert(rule.counters.of(authority.host()));
        filters::on_request(&rule.policy.filters, &mut request, path_len)?;
        let request = request.map(|body| body.counted(&counters.frame_size));
        let exchange = &mut observer.exchange;
        let mut answer = self
            .dispatch(&rule, request, authority, path_len, interim, exchange)
            .await?;
        filters::on_response(&rule.policy.filters, answer.response.headers_mut());
        Ok(answer)
    }

    /// The response in place of one from an endpoint.
    fn refuse(
        &self,
        error: &ProxyError,
        client: Client,
        mut observer: Observer,
    ) -> Reply<Observer> {
        let telemetry = &self.outbound.telemetry;
        telemetry.http_error(Direction::Outbound, error.label());
        tracing::info!(
            client = %self.client,
            target = %self.destination.original(),
            %error,
            "HTTP request failed"
        );
        let response = error.respond(client);
        observer.failed(error.route_label(), response.status());
        Reply {
            response,
            observer,
            tunnel: None,
            // Requests that each name a service do not share the fate of one of them.
            close: error.closes() && matches!(self.destination, Destination::Fixed(_)),
        }
    }

    fn informed(&self, version: Version, grpc: bool) -> Client {
        let informed = !self.outbound.config.outbound.hide_proxy_errors;
        Client {
            version,
            grpc,
            informed,
            is_proxy: false,
        }
    }
}

impl HttpService for Service {
    type Observer = Observer;

    async fn call(&self, request: Request<Body>, interim: &Interim) -> Reply<Observer> {
        if mutants::active(Mutant::LogsError) {
            tracing::error!("Unexpected request");
        }
        let client = self.informed(request.version(), headers::is_grpc(request.headers()));
        let mut observer = Observer::new(self.outbound.in_flight.enter(), client.grpc);
        match self.exchange(request, interim, &mut observer).await {
            Ok(answer) => reply(answer, observer),
            Err(error) => self.refuse(&error, client, observer),
        }
    }
}

fn begin(choice: &Choice, endpoint: &Rc<Endpoint>, mut pending: Pending) -> Exchange {
    let now = Instant::now();
    pending.sent(now);
    let failed_rtt = match &choice.backend.policy.dispatcher {
        Dispatcher::Balance(balance) => balance.load.default_rtt,
        // Nothing compares a lone endpoint's load.
        Dispatcher::Forward(_) | Dispatcher::Fail(_) => Duration::ZERO,
    };
    Exchange {
        endpoint: Rc::clone(endpoint),
        backend: choice.metrics.clone(),
        pending: Some(pending),
        failed_rtt,
        sent: now,
        answered: false,
    }
}

/// Removes what the application may not say, and says what the peer's proxy is to know. The
/// request's authority, which is the target's address when it names none.
fn prepare(request: &mut Request<Body>, target: &Target) -> Authority {
    headers::strip_untrusted(request.headers_mut());
    request.headers_mut().remove(ORIG_PROTO);
    request.headers_mut().remove(DST_CANONICAL);
    if let Some(name) = target.canonical_name() {
        request.headers_mut().insert(DST_CANONICAL, name);
    }
    headers::authority(request).unwrap_or_else(|| {
        // An address is an authority.
        Authority::try_from(target.addr.to_string())
            .unwrap_or_else(|_| Authority::from_static("unknown"))
    })
}

fn reply(answer: Answer, mut observer: Observer) -> Reply<Observer> {
    let Answer {
        mut response,
        tunnel,
        close,
    } = answer;
    let is_switch = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    let map = response.headers_mut();
    map.remove(ORIG_PROTO);
    map.remove(PROXY_CONNECTION);
    if is_switch && !mutants::active(Mutant::UpgradeBroken) {
        headers::strip_hop_by_hop_but_upgrade(map);
    } else {
        headers::strip_hop_by_hop(map);
        map.remove(CONNECTION);
    }
    observer.status = response.status();
    if let Some(grpc) = &mut observer.grpc {
        grpc.0 = GrpcStatus::read(response.headers());
    }
    if let Some(exchange) = &mut observer.exchange {
        exchange.answered();
        // The peer's proxy answered: a refused dial takes it less time than work takes the others.
        if response.headers().contains_key(PROXY_ERROR) {
            exchange.failed();
        }
        if tunnel.is_some()
            && let Some(pending) = &mut exchange.pending
        {
            pending.answered();
        }
    }
    Reply {
        response,
        observer,
        tunnel,
        close,
    }
}
