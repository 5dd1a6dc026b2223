"""
What can be chosen about an installation, with Linkerd's names and defaults.

The structs hold one complete set of values; `reference_mesh.manifests.overrides` makes one from
what a user gave. In YAML and in `--set` the names are camelCase: `proxy.logLevel`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from reference_mesh.manifests import names

__all__ = [
    "Amount",
    "Controller",
    "DeploymentStrategy",
    "EnvVar",
    "Identity",
    "Image",
    "Issuer",
    "PolicyController",
    "Proxy",
    "ProxyInit",
    "ProxyPorts",
    "Resources",
    "RollingUpdate",
    "Values",
]

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
# What goes into a sidecar's environment has one unit: a proxy ends at the sight of `1m30s`.
Duration = Annotated[str, msgspec.Meta(pattern=r"^[0-9]+(ms|s|m|h|d)$")]
OptionalDuration = Annotated[str, msgspec.Meta(pattern=r"^([0-9]+(ms|s|m|h|d))?$")]
Lifetime = Annotated[str, msgspec.Meta(pattern=r"^([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+$")]
Quantity = Annotated[str, msgspec.Meta(pattern=r"^([0-9.]+(m|k|Ki|M|Mi|G|Gi|T|Ti)?)?$")]
CountOrShare = Annotated[str, msgspec.Meta(pattern=r"^[0-9]+%?$")]
DefaultPolicy = Literal[
    "all-authenticated",
    "all-unauthenticated",
    "audit",
    "cluster-authenticated",
    "cluster-unauthenticated",
    "deny",
]
PullPolicy = Literal["Always", "IfNotPresent", "Never"]


class _Group(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Spelling and strictness of every group of values."""


class EnvVar(_Group, frozen=True, kw_only=True):
    """One more variable for a container; it wins over one of the same name."""

    name: Annotated[str, msgspec.Meta(min_length=1)]
    value: str = ""


class Amount(_Group, frozen=True, kw_only=True):
    """Request and limit of one resource, as Kubernetes quantities; empty is unset."""

    request: Quantity = ""
    limit: Quantity = ""


class Resources(_Group, frozen=True, kw_only=True):
    """What a container asks of its node."""

    cpu: Amount = Amount()
    memory: Amount = Amount()
    ephemeral_storage: Amount = msgspec.field(name="ephemeral-storage", default=Amount())


class Image(_Group, frozen=True, kw_only=True):
    """Where an image comes from. An empty pull policy means `imagePullPolicy`."""

    name: str
    version: str = names.VERSION
    pull_policy: Literal["Always", "IfNotPresent", "Never", ""] = ""


class Issuer(_Group, frozen=True, kw_only=True):
    """How leaf certificates are issued. `scheme` is the type of the issuer's Secret."""

    scheme: Literal["linkerd.io/tls", "kubernetes.io/tls"] = "linkerd.io/tls"
    issuance_lifetime: Lifetime = "24h0m0s"
    clock_skew_allowance: Lifetime = "20s"


class Identity(_Group, frozen=True, kw_only=True):
    """The certificate authority of the mesh."""

    issuer: Issuer = Issuer()
    service_account_token_projection: bool = True
    additional_env: tuple[EnvVar, ...] = ()


class ProxyPorts(_Group, frozen=True, kw_only=True):
    """Where the sidecar listens."""

    admin: Port = names.ADMIN_PORT
    control: Port = 4190
    inbound: Port = 4143
    outbound: Port = 4140


class Proxy(_Group, frozen=True, kw_only=True):
    """The sidecar, as every pod gets it unless its annotations say otherwise."""

    image: Image = Image(name="meshmark.dev/proxy")
    uid: Annotated[int, msgspec.Meta(ge=1)] = 2102
    gid: Annotated[int, msgspec.Meta(ge=-1)] = -1
    ports: ProxyPorts = ProxyPorts()
    cores: Annotated[int, msgspec.Meta(ge=0)] = 0
    cpu_ratio_limit: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    log_level: str = "warn,linkerd=info,hickory=error"
    log_format: Literal["plain", "json"] = "plain"
    log_http_headers: Literal["off", "insecure", ""] = msgspec.field(
        name="logHTTPHeaders", default="off"
    )
    access_log: Literal["", "apache", "json"] = ""
    resources: Resources = Resources()
    opaque_ports: str = "25,587,3306,4444,5432,6379,9300,11211"
    require_identity_on_inbound_ports: str = ""
    default_inbound_policy: DefaultPolicy = "all-unauthenticated"
    outbound_transport_mode: Literal["transport-header", "transparent"] = "transport-header"
    inbound_connect_timeout: Duration = "100ms"
    outbound_connect_timeout: Duration = "1000ms"
    inbound_discovery_cache_unused_timeout: Duration = "90s"
    outbound_discovery_cache_unused_timeout: Duration = "5s"
    disable_inbound_protocol_detect_timeout: bool = False
    disable_outbound_protocol_detect_timeout: bool = False
    native_sidecar: bool = True
    enable_shutdown_endpoint: bool = False
    shutdown_grace_period: OptionalDuration = ""
    wait_before_exit_seconds: Annotated[int, msgspec.Meta(ge=0)] = 0
    is_gateway: bool = False
    is_ingress: bool = False
    metrics_hostname_labels: bool = False
    additional_env: tuple[EnvVar, ...] = ()


class ProxyInit(_Group, frozen=True, kw_only=True):
    """The init container that redirects a pod's traffic into the sidecar."""

    image: Image = Image(name="meshmark.dev/proxy-init")
    ignore_inbound_ports: str = "4567,4568"
    ignore_outbound_ports: str = "4567,4568"
    kube_api_server_ports: str = msgspec.field(name="kubeAPIServerPorts", default="443,6443")
    skip_subnets: str = ""
    iptables_mode: Literal["nft", "legacy"] = "nft"
    close_wait_timeout_secs: Annotated[int, msgspec.Meta(ge=0)] = 0
    run_as_user: Annotated[int, msgspec.Meta(ge=0)] = 0


class Controller(_Group, frozen=True, kw_only=True):
    """One component of the control plane."""

    additional_env: tuple[EnvVar, ...] = ()


class PolicyController(_Group, frozen=True, kw_only=True):
    """What the policy part of the destination component is told."""

    probe_networks: tuple[str, ...] = ("0.0.0.0/0", "::/0")


class RollingUpdate(_Group, frozen=True, kw_only=True):
    """How many pods more and fewer than wanted a rollout may have, as a count or a share."""

    max_surge: CountOrShare = "25%"
    max_unavailable: CountOrShare = "25%"


class DeploymentStrategy(_Group, frozen=True, kw_only=True):
    """How the components of the control plane are replaced."""

    rolling_update: RollingUpdate = RollingUpdate()


class Values(_Group, frozen=True, kw_only=True):
    """One complete set of values."""

    cluster_domain: str = "cluster.local"
    cluster_networks: str = "10.0.0.0/8,100.64.0.0/10,172.16.0.0/12,192.168.0.0/16,fd00::/8"
    controller_image: str = "meshmark.dev/control-plane"
    controller_image_version: str = names.VERSION
    controller_log_level: Literal["error", "warning", "info", "debug"] = "info"
    controller_replicas: Annotated[int, msgspec.Meta(ge=1)] = 1
    controller_resources: Resources = Resources()
    controller_uid: Annotated[int, msgspec.Meta(ge=1)] = msgspec.field(
        name="controllerUID", default=2103
    )
    deployment_strategy: DeploymentStrategy = DeploymentStrategy()
    destination_controller: Controller = Controller()
    disable_ipv6: bool = msgspec.field(name="disableIPv6", default=True)
    enable_pod_anti_affinity: bool = False
    enable_pod_disruption_budget: bool = False
    high_availability: bool = False
    identity: Identity = Identity()
    identity_trust_domain: str = ""
    image_pull_policy: PullPolicy = "IfNotPresent"
    pod_annotations: dict[str, str] = {}
    policy_controller: PolicyController = PolicyController()
    priority_class_name: str = "system-cluster-critical"
    proxy: Proxy = Proxy()
    proxy_init: ProxyInit = ProxyInit()
    proxy_injector: Controller = Controller()
    webhook_failure_policy: Literal["Ignore", "Fail"] = "Ignore"

    @property
    def trust_domain(self) -> str:
        """Domain under which identities live: `identityTrustDomain`, else the cluster's."""
        return self.identity_trust_domain or self.cluster_domain

    def as_document(self) -> dict[str, Any]:
        """These values as plain data under their YAML names."""
        return msgspec.json.decode(msgspec.json.encode(self))  # type: ignore[no-any-return]
