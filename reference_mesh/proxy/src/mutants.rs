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
    /// Connections without mesh TLS are labelled as if they had it.
    WrongTlsLabel,
}

// === impl Mutant ===

impl Mutant {
    /// The name that `MESHMARK_MUTANT` takes.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AcceptForeignRoot => "accept-foreign-root",
            Self::AcceptExpired => "accept-expired",
            Self::IgnoreServerSan => "ignore-server-san",
            Self::RotationNeverRenews => "rotation-never-renews",
            Self::TrustAnyClientId => "trust-any-client-id",
            Self::AllowAllAuthz => "allow-all-authz",
            Self::SuffixMatchTooWide => "suffix-match-too-wide",
            Self::CountersDrop => "counters-drop",
            Self::WrongTlsLabel => "wrong-tls-label",
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
