//! Planted defects, for proving that the conformance checks can fail.
//!
//! Compiled in only with the feature `mutants`; `MESHMARK_MUTANT` then names the one that is alive.
//! Without the feature [`active`] is a constant `false` and the seams vanish.

/// One planted defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// Certificates of any authority are accepted.
    AcceptForeignRoot,
    /// Certificates past their end are accepted.
    AcceptExpired,
    /// Certificates before their beginning are accepted.
    AcceptNotYetValid,
    /// A server may have any name.
    IgnoreServerSan,
    /// The certificate is never renewed.
    RotationNeverRenews,
    /// Authorization that asks for an identity takes any.
    TrustAnyClientId,
    /// Every authorization is granted.
    AllowAllAuthz,
    /// An identity suffix matches in the middle of a label.
    SuffixMatchTooWide,
    /// One in a hundred counts is lost.
    CountersDrop,
    /// One in ten requests is counted twice, as a request only.
    RequestsCountedTwice,
    /// A gRPC response is judged by its HTTP status.
    GrpcJudgedAsHttp,
    /// Connections without mesh TLS are labelled as if they had it.
    WrongTlsLabel,
    /// Peers' proxies are dialled without TLS.
    PlaintextBetweenProxies,
    /// A failed TLS handshake falls back to plain text.
    PlaintextFallback,
    /// `l5d-client-id` from outside is believed.
    ClientIdKept,
    /// A denied request is sent to the application all the same.
    DeniedReachesBackend,
    /// Headers of one connection are passed on to the next.
    HopByHopKept,
    /// `trailer` and `proxy-authenticate` are passed on, though `connection` names them.
    NamedFieldsKept,
    /// Of several fields with one name, only the first is passed on.
    RepeatedFieldsLost,
    /// Trailers are lost, but for the status of a gRPC call.
    TrailersDropped,
    /// A request's `content-length` counts beside its `transfer-encoding`.
    LengthBesideCoding,
    /// An HTTP/2 request without a path is neither reset nor answered.
    PathlessHeld,
    /// What was read of a request that is refused is kept.
    RefusedKept,
    /// A response to HEAD is framed as if it had content.
    HeadWithBody,
    /// The end of one direction ends both.
    HalfCloseLost,
    /// Bodies end after the first MiB.
    BodyTruncated,
    /// Of the endpoints, the first is always picked.
    BalancerPicksFirst,
    /// Slow endpoints look as good as fast ones.
    EwmaIgnoresLatency,
    /// Each request gets a new connection to the application.
    NoConnectionReuse,
    /// SIGTERM ends the process at once.
    NoDrain,
    /// A proxy that was told to end panics when all is done.
    PanicsWhileDraining,
    /// HTTP/1 between proxies is carried as HTTP/1.
    AlpnDowngrade,
    /// Requests to upgrade lose what asks for it.
    UpgradeBroken,
    /// HTTP/1.0 clients get chunks.
    ChunkedToHttp10,
    /// Opaque connections are not authorized.
    OpaqueNotEnforced,
    /// A denied opaque connection is neither carried nor ended.
    DeniedHeld,
    /// Opaque ports are looked at for HTTP all the same.
    ServerFirstStalls,
    /// The transport header names the port after the right one.
    RouteByWrongPort,
    /// Each request logs an ERROR line.
    LogsError,
    /// Traffic flows before there is a certificate: outbound as the application sent it.
    LeaksWhileRestarting,
    /// A session is resumed without another look at the client's certificate.
    ResumesUnverified,
    /// Who first called is taken for everybody who calls later.
    FirstClientForAll,
    /// Of the endpoints of a service, only those that were heard of first are known.
    StaleEndpoints,
    /// A control plane that is not heard any more takes its endpoints along.
    ForgetsEndpoints,
    /// One in a hundred requests is not sent to the application.
    RequestsLost,
    /// Any change to the policy of a resource ends opaque connections.
    ResetsOnChange,
}

// === impl Mutant ===

impl Mutant {
    /// The name that `MESHMARK_MUTANT` takes.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AcceptForeignRoot => "accept-foreign-root",
            Self::AcceptExpired => "accept-expired",
            Self::AcceptNotYetValid => "accept-not-yet-valid",
            Self::IgnoreServerSan => "ignore-server-san",
            Self::RotationNeverRenews => "rotation-never-renews",
            Self::TrustAnyClientId => "trust-any-client-id",
            Self::AllowAllAuthz => "allow-all-authz",
            Self::SuffixMatchTooWide => "suffix-match-too-wide",
            Self::CountersDrop => "counters-drop",
            Self::RequestsCountedTwice => "requests-counted-twice",
            Self::GrpcJudgedAsHttp => "grpc-judged-as-http",
            Self::WrongTlsLabel => "wrong-tls-label",
            Self::PlaintextBetweenProxies => "plaintext-between-proxies",
            Self::PlaintextFallback => "plaintext-fallback",
            Self::ClientIdKept => "client-id-kept",
            Self::DeniedReachesBackend => "denied-reaches-backend",
            Self::HopByHopKept => "hop-by-hop-kept",
            Self::NamedFieldsKept => "named-fields-kept",
            Self::RepeatedFieldsLost => "repeated-fields-lost",
            Self::TrailersDropped => "trailers-dropped",
            Self::LengthBesideCoding => "length-beside-coding",
            Self::PathlessHeld => "pathless-held",
            Self::RefusedKept => "refused-kept",
            Self::HeadWithBody => "head-with-body",
            Self::HalfCloseLost => "half-close-lost",
            Self::BodyTruncated => "body-truncated",
            Self::BalancerPicksFirst => "balancer-picks-first",
            Self::EwmaIgnoresLatency => "ewma-ignores-latency",
            Self::NoConnectionReuse => "no-connection-reuse",
            Self::NoDrain => "no-drain",
            Self::PanicsWhileDraining => "panics-while-draining",
            Self::AlpnDowngrade => "alpn-downgrade",
            Self::UpgradeBroken => "upgrade-broken",
            Self::ChunkedToHttp10 => "chunked-to-http10",
            Self::OpaqueNotEnforced => "opaque-not-enforced",
            Self::DeniedHeld => "denied-held",
            Self::ServerFirstStalls => "server-first-stalls",
            Self::RouteByWrongPort => "route-by-wrong-port",
            Self::LogsError => "logs-error",
            Self::LeaksWhileRestarting => "leaks-while-restarting",
            Self::ResumesUnverified => "resumes-unverified",
            Self::FirstClientForAll => "first-client-for-all",
            Self::StaleEndpoints => "stale-endpoints",
            Self::ForgetsEndpoints => "forgets-endpoints",
            Self::RequestsLost => "requests-lost",
            Self::ResetsOnChange => "resets-on-change",
        }
    }
}

/// Whether this defect is alive.
#[cfg(not(feature = "mutants"))]
#[must_use]
pub const fn active(_: Mutant) -> bool {
    false
}

/// Whether this defect is alive.
#[cfg(feature = "mutants")]
#[must_use]
pub fn active(mutant: Mutant) -> bool {
    use std::sync::LazyLock;
    static ALIVE: LazyLock<Option<String>> =
        LazyLock::new(|| std::env::var("MESHMARK_MUTANT").ok());
    ALIVE.as_deref() == Some(mutant.name())
}
