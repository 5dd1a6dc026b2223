"""
Names and numbers that the control plane, the injector and the CLI agree on.

They are Linkerd's, so that its documentation, dashboards and annotations hold for this mesh too.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "ADMIN_PORT",
    "ADMIN_PORT_NAME",
    "ADMISSION_WEBHOOKS",
    "COMPONENT",
    "CONFIG",
    "CONFIG_ALPHA",
    "CONTROL_PLANE_NS",
    "CREATED_BY",
    "DEFAULT_NAMESPACE",
    "DEFAULT_POLICIES",
    "DESTINATION_ADMIN_PORT",
    "DESTINATION_PORT",
    "IDENTITY_ADMIN_PORT",
    "IDENTITY_AUDIENCE",
    "IDENTITY_PORT",
    "INIT_CONTAINER",
    "INJECT",
    "INJECTOR_ADMIN_PORT",
    "IS_CONTROL_PLANE",
    "OPAQUE_PORTS",
    "OVERRIDES",
    "POLICY_PORT",
    "PROXY_CONTAINER",
    "PROXY_VERSION",
    "TRUST_ROOTS",
    "TRUST_ROOT_SHA256",
    "VERSION",
    "WEBHOOK_PORT",
    "WORKLOAD_NS",
    "proxy_owner_label",
]

VERSION: Final = "0.1.0"
"""Version of the mesh: tag of its images and of the resources that `refmesh install` prints."""

DEFAULT_NAMESPACE: Final = "linkerd"

INJECT: Final = "linkerd.io/inject"
CONFIG: Final = "config.linkerd.io/"
CONFIG_ALPHA: Final = "config.alpha.linkerd.io/"
OPAQUE_PORTS: Final = CONFIG + "opaque-ports"
ADMISSION_WEBHOOKS: Final = CONFIG + "admission-webhooks"
CREATED_BY: Final = "linkerd.io/created-by"
PROXY_VERSION: Final = "linkerd.io/proxy-version"
TRUST_ROOT_SHA256: Final = "linkerd.io/trust-root-sha256"
CONTROL_PLANE_NS: Final = "linkerd.io/control-plane-ns"
WORKLOAD_NS: Final = "linkerd.io/workload-ns"
COMPONENT: Final = "linkerd.io/control-plane-component"
IS_CONTROL_PLANE: Final = "linkerd.io/is-control-plane"

PROXY_CONTAINER: Final = "linkerd-proxy"
INIT_CONTAINER: Final = "linkerd-init"

TRUST_ROOTS: Final = "linkerd-identity-trust-roots"
"""ConfigMap whose `ca-bundle.crt` every proxy trusts."""

OVERRIDES: Final = "linkerd-config-overrides"
"""Secret that holds the values given at installation, under a key of the same name."""

IDENTITY_AUDIENCE: Final = "identity.l5d.io"

ADMIN_PORT_NAME: Final = "linkerd-admin"
ADMIN_PORT: Final = 4191
IDENTITY_PORT: Final = 8080
IDENTITY_ADMIN_PORT: Final = 9990
DESTINATION_PORT: Final = 8086
DESTINATION_ADMIN_PORT: Final = 9996
POLICY_PORT: Final = 8090
INJECTOR_ADMIN_PORT: Final = 9995
WEBHOOK_PORT: Final = 8443

DEFAULT_POLICIES: Final = (
    "all-authenticated",
    "all-unauthenticated",
    "audit",
    "cluster-authenticated",
    "cluster-unauthenticated",
    "deny",
)
"""
What an inbound port without a Server may be told to do.

A sidecar is told its own at its start, for the time until it hears of its ports. The linkerd2-proxy
of releases before Linkerd 2.16 does not know `audit`, and ends at the sight of it.
"""


def proxy_owner_label(kind: str) -> str:
    """Label that names the workload of a meshed pod: `linkerd.io/proxy-deployment`."""
    return f"linkerd.io/proxy-{kind.lower()}"
