//! Requests for the application.

use std::cell::RefCell;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use ::http::header::CONNECTION;
use ::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use tokio::time::Instant;

use super::{Inbound, Limiter, Session, authority};
use crate::http::body::BodyError;
use crate::http::error::{Client, ProxyError};
use crate::http::filters;
use crate::http::headers::{self, CLIENT_ID, DST_CANONICAL};
use crate::http::in_flight::InFlight;
use crate::http::orig_proto::OrigProto;
use crate::http::{
    Body, Interim, Observer as HttpObserver, Reply, Service as HttpService, Tunnel, h1, orig_proto,
};
use crate::mutants::{self, Mutant};
use crate::outbound::{GrpcStatus, body_error_label};
use crate::policy::inbound::{Authorization, Http, Protocol, Route, ServerPolicy, authorize};
use crate::policy::{Meta, matching};
use crate::telemetry::{
    Counter, Direction, InboundRequestLabels, InboundRoute, Requests, RouteStatus,
};

/// Admits and forwards the requests of one client connection.
pub(super) struct Service {
    inbound: Rc<Inbound>,
    session: Session,
    app: Rc<super::App>,
    current: RefCell<Rc<Current>>,
    client_id: Option<HeaderValue>,
}

/// A policy made ready for requests.
struct Current {
    policy: Arc<ServerPolicy>,
    http: Result<Http, ProxyError>,
    limiter: Option<Arc<Limiter>>,
    admissions: RefCell<Vec<Rc<Admission>>>,
}

/// Counters of the requests that one authorization lets in on one route.
struct Admission {
    route: Arc<Meta>,
    authz: Arc<Meta>,
    authority: Box<str>,
    grpc: bool,
    allowed: Counter,
    requests: Requests,
    metrics: InboundRoute,
}

/// Follows a response to its end, and counts it.
pub(super) struct Observer {
    in_flight: Option<InFlight>,
    admission: Option<Rc<Admission>>,
    error: Option<&'static str>,
    status: StatusCode,
    grpc: Option<GrpcStatus>,
    started: Instant,
    answered: Instant,
    ended: bool,
}

// === impl Service ===

impl Service {
    pub(super) fn new(inbound: &Rc<Inbound>, session: Session) -> Self {
        let policy = Arc::clone(&session.policy.borrow_mut().borrow_and_update());
        let client_id = session.tls.client_id().map(|id| id.as_str());
        Self {
            app: inbound.app(session.target),
            current: RefCell::new(Rc::new(Current::new(
                inbound,
                session.target.port(),
                policy,
            ))),
            client_id: client_id.and_then(|id| HeaderValue::from_str(id).ok()),
            inbound: Rc::clone(inbound),
            session,
        }
    }

    /// The policy in force, ready for requests.
    fn current(&self) -> Rc<Current> {
        let mut policy = self.session.policy.borrow_mut();
        if policy.has_changed().unwrap_or(false) {
            let new = Arc::clone(&policy.borrow_and_update());
            let port = self.session.target.port();
            *self.current.borrow_mut() = Rc::new(Current::new(&self.inbound, port, new));
        }
        Rc::clone(&self.current.borrow())
    }

    /// Lets the request in, or says why not.
    fn admit(
        &self,
        current: &Current,
        request: &mut Request<Body>,
    ) -> Result<Rc<Admission>, ProxyError> {
        let http = current.http.as_ref().map_err(Clone::clone)?;
        let authority = headers::authority(request);
        let view = matching::Request {
            host: authority.as_ref().map(::http::uri::Authority::host),
            uri: request.uri(),
            method: request.method(),
            headers: request.headers(),
        };
        let telemetry = &self.inbound.telemetry;
        let labels = self.session.labels(&current.policy);
        let Some((route, rule, path_len)) = http.find(&view) else {
            telemetry.http_route_not_found(labels).increment();
            return Err(ProxyError::NoRoute);
        };
        let Some(authorization) = authorize(&route.authorizations, &self.session.as_client())
        else {
            telemetry.http_denied(labels, &route.meta).increment();
            return Err(ProxyError::Unauthorized);
        };
        if let Some(limiter) = &current.limiter
            && let Err(scope) = limiter.take(self.session.tls.client_id(), Instant::now())
        {
            let counter = telemetry.http_rate_limited(labels, &limiter.policy.meta, scope);
            counter.increment();
            return Err(ProxyError::RateLimited);
        }
        let admission = self.admission(current, route, authorization, request);
        admission.allowed.increment();
        if let Some(rule) = rule {
            filters::on_request(&rule.filters, request, path_len)?;
        }
        Ok(admission)
    }

    /// The counters for requests on `route` that `authorization` lets in.
    fn admission(
        &self,
        current: &Current,
        route: &Route,
        authorization: &Authorization,
        request: &Request<Body>,
    ) -> Rc<Admission> {
        let grpc = headers::is_grpc(request.headers());
        let names = self.inbound.common.authorities.as_ref();
        let named = names.and_then(|names| Some((names, authority::of(request)?)));
        let authority = named.as_ref().map_or("", |(names, name)| names.shown(name));
        let mut admissions = current.admissions.borrow_mut();
        let known = admissions.iter().find(|known| {
            known.grpc == grpc
                && *known.authority == *authority
                && Arc::ptr_eq(&known.route, &route.meta)
                && Arc::ptr_eq(&known.authz, &authorization.meta)
        });
        if let Some(known) = known {
            return Rc::clone(known);
        }
        let telemetry = &self.inbound.telemetry;
        let (target, policy) = (self.session.target, &current.policy);
        let requests = telemetry.inbound_requests(InboundRequestLabels {
            target,
            tls: &self.session.tls,
            server: &policy.meta,
            server_port: target.port(),
            route: &route.meta,
            authz: &authorization.meta,
            authority,
        });
        let labels = self.session.labels(policy);
        let admission = Rc::new(Admission {
            allowed: telemetry.http_allowed(labels, &route.meta, &authorization.meta),
            metrics: telemetry.inbound_route(grpc, &policy.meta, target.port(), &route.meta),
            route: Arc::clone(&route.meta),
            authz: Arc::clone(&authorization.meta),
            authority: authority.into(),
            requests,
            grpc,
        });
        admissions.push(Rc::clone(&admission));
        admission
    }

    /// Admits the request and sends it to the application.
    async fn exchange(
        &self,
        mut request: Request<Body>,
        interim: &Interim,
        observer: &mut Observer,
    ) -> Result<(Response<Body>, Option<Tunnel>), ProxyError> {
        let is_lost = mutants::active(Mutant::RequestsLost) && fastrand::u32(..100) == 0;
        if observer.in_flight.is_none() || is_lost {
            return Err(ProxyError::LoadShed);
        }
        if request.version() == Version::HTTP_2 && *request.method() == Method::CONNECT {
            return Err(ProxyError::Unsupported(
                "CONNECT over HTTP/2 is not supported",
            ));
        }
        let admitted = self.admit(&self.current(), &mut request);
        if admitted.is_err() && mutants::active(Mutant::DeniedReachesBackend) {
            // What the application answers does not matter: the request has reached it.
            let _ = self.dispatch(std::mem::take(&mut request), interim).await;
        }
        let admission = admitted?;
        admission.requests.request();
        admission.metrics.requests.increment();
        let request = request.map(|body| body.counted(&admission.metrics.request_frame_size));
        observer.admission = Some(admission);
        self.dispatch(request, interim).await
    }

    /// The response in place of one from the application.
    fn refuse(
        &self,
        error: &ProxyError,
        client: Client,
        mut observer: Observer,
    ) -> Reply<Observer> {
        let telemetry = &self.inbound.telemetry;
        telemetry.http_error(Direction::Inbound, error.label());
        tracing::info!(
            client = %self.session.client,
            target = %self.session.target,
            %error,
            "HTTP request failed"
        );
        let response = error.respond(client);
        observer.status = response.status();
        observer.error = Some(error.route_label());
        Reply {
            response,
            observer,
            tunnel: None,
            // A proxy is told to close its own client's connection; this one carries others', too.
            close: error.closes() && !client.is_proxy,
        }
    }

    async fn dispatch(
        &self,
        mut request: Request<Body>,
        interim: &Interim,
    ) -> Result<(Response<Body>, Option<Tunnel>), ProxyError> {
        let map = request.headers_mut();
        headers::strip_untrusted(map);
        map.remove(DST_CANONICAL);
        if let Some(id) = &self.client_id {
            map.insert(CLIENT_ID, id.clone());
        }
        self.app.send(request, interim).await
    }
}

impl HttpService for Service {
    type Observer = Observer;

    async fn call(&self, mut request: Request<Body>, interim: &Interim) -> Reply<Observer> {
        let carried = if request.version() == Version::HTTP_2 {
            orig_proto::take(&mut request)
        } else {
            None
        };
        let restored = carried.map_or(Ok(()), |orig| restore(&mut request, orig));
        let is_proxy = self.client_id.is_some();
        let client = Client {
            version: request.version(),
            grpc: headers::is_grpc(request.headers()),
            informed: is_proxy,
            is_proxy,
        };
        let log = self.inbound.access_log.as_ref();
        let mut entry = log.map(|log| log.begin(self.session.logged(), &request));
        let mut observer = Observer::new(self.inbound.common.in_flight.enter(), client.grpc);
        let answered = match restored {
            Ok(()) => {
                let exchange = pin!(self.exchange(request, interim, &mut observer));
                match &mut entry {
                    None => exchange.await,
                    Some(entry) => entry.measure(exchange).await,
                }
            }
            Err(error) => Err(error),
        };
        let reply = match answered {
            Ok((response, tunnel)) => reply(response, tunnel, carried.is_some(), observer),
            Err(error) => self.refuse(&error, client, observer),
        };
        if let Some(entry) = entry {
            entry.answered(&reply.response);
        }
        reply
    }
}

/// Turns an HTTP/2 request into the one of HTTP/1 that it carries. Anybody may send such ones, so it
/// is judged like those that come as HTTP/1.
fn restore(request: &mut Request<Body>, orig: OrigProto) -> Result<(), ProxyError> {
    h1::judge_carried(request).map_err(|refusal| ProxyError::BadRequest(refusal.reason))?;
    orig_proto::to_h1(request, orig);
    Ok(())
}

fn reply(
    mut response: Response<Body>,
    tunnel: Option<Tunnel>,
    was_carried: bool,
    mut observer: Observer,
) -> Reply<Observer> {
    clean(&mut response, tunnel.is_some());
    if was_carried {
        let version = response.version();
        orig_proto::mark_response(response.headers_mut(), version);
    }
    observer.answered(&response);
    Reply {
        response,
        observer,
        tunnel,
        close: false,
    }
}

/// Removes what belongs to the application's connection.
fn clean(response: &mut Response<Body>, is_tunnel: bool) {
    let map = response.headers_mut();
    if is_tunnel && !mutants::active(Mutant::UpgradeBroken) {
        headers::strip_hop_by_hop_but_upgrade(map);
    } else {
        headers::strip_hop_by_hop(map);
        map.remove(CONNECTION);
    }
}

// === impl Current ===

impl Current {
    fn new(inbound: &Inbound, port: u16, policy: Arc<ServerPolicy>) -> Self {
        let http = match &policy.protocol {
            Protocol::Detect { http, .. }
            | Protocol::Http1(http)
            | Protocol::Http2(http)
            | Protocol::Grpc(http) => Ok(http.clone()),
            // A peer that announces HTTP on an opaque port is held to the port's authorizations.
            Protocol::Opaque | Protocol::Tls => Ok(Http {
                routes: Arc::new([Route::any(policy.authorizations.clone())]),
                rate_limit: None,
            }),
            Protocol::Invalid(reason) => Err(ProxyError::InvalidPolicy(reason.clone())),
        };
        let limit = http.as_ref().ok().and_then(|http| http.rate_limit.as_ref());
        let limiter = limit.map(|limit| inbound.common.limiters.of(port, limit));
        Self {
            policy,
            http,
            limiter,
            admissions: RefCell::default(),
        }
    }
}

// === impl Observer ===

impl Observer {
    fn new(in_flight: Option<InFlight>, grpc: bool) -> Self {
        Self {
            in_flight,
            admission: None,
            error: None,
            status: StatusCode::OK,
            grpc: grpc.then_some(GrpcStatus(None)),
            started: Instant::now(),
            answered: Instant::now(),
            ended: false,
        }
    }

    /// Notes the application's answer.
    fn answered(&mut self, response: &Response<Body>) {
        self.status = response.status();
        self.answered = Instant::now();
        if let Some(grpc) = &mut self.grpc {
            grpc.0 = GrpcStatus::read(response.headers());
        }
    }

    fn finish(&mut self, trailers: Option<&HeaderMap>, error: Option<&'static str>) {
        self.ended = true;
        self.in_flight = None;
        let error = error.or(self.error);
        if let Some(admission) = self.admission.take() {
            let outcome = GrpcStatus::outcome(self.grpc, self.status, trailers, error);
            admission.requests.response(outcome, self.started.elapsed());
            let status = RouteStatus::of(outcome);
            admission
                .metrics
                .ended(status, self.started.elapsed(), self.answered.elapsed());
        }
    }
}

impl HttpObserver for Observer {
    fn data(&mut self, len: usize) {
        if let Some(admission) = &self.admission {
            admission
                .metrics
                .response_frame_size
                .observe_bytes(len as u64);
        }
    }

    fn end(&mut self, trailers: Option<&HeaderMap>, error: Option<&BodyError>) {
        self.finish(trailers, error.map(body_error_label));
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        if !self.ended {
            self.finish(None, Some("CANCEL"));
        }
    }
}
