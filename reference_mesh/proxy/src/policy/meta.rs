//! Names of policy resources, as they appear in metric labels and logs.

use std::sync::Arc;

/// The resource that a policy, route or backend comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Meta {
    /// Made up by the proxy or the control plane: kind `default` and a name.
    Default(Arc<str>),
    /// A Kubernetes object.
    Resource {
        /// API group, `core` for Services.
        group: Arc<str>,
        /// Kind, lower or camel case as the control plane sent it.
        kind: Arc<str>,
        /// Object name.
        name: Arc<str>,
        /// Namespace; empty for inbound resources of this workload.
        namespace: Arc<str>,
        /// Section (route rule, listener), empty when the whole object is meant.
        section: Arc<str>,
        /// Port of a Service.
        port: Option<u16>,
    },
}

// === impl Meta ===

impl Meta {
    /// A default with this name.
    #[must_use]
    pub fn default_named(name: &str) -> Arc<Self> {
        Arc::new(Self::Default(name.into()))
    }

    /// API group; empty for a default.
    #[must_use]
    pub fn group(&self) -> &str {
        match self {
            Self::Default(_) => "",
            Self::Resource { group, .. } => group,
        }
    }

    /// Kind; `default` for a default.
    #[must_use]
    pub fn kind(&self) -> &str {
        match self {
            Self::Default(_) => "default",
            Self::Resource { kind, .. } => kind,
        }
    }

    /// Object or default name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Default(name) | Self::Resource { name, .. } => name,
        }
    }

    /// Namespace; empty for a default.
    #[must_use]
    pub fn namespace(&self) -> &str {
        match self {
            Self::Default(_) => "",
            Self::Resource { namespace, .. } => namespace,
        }
    }

    /// Section; empty for a default.
    #[must_use]
    pub fn section(&self) -> &str {
        match self {
            Self::Default(_) => "",
            Self::Resource { section, .. } => section,
        }
    }

    /// Service port, if the resource names one.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Default(_) => None,
            Self::Resource { port, .. } => *port,
        }
    }
}
