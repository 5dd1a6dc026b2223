"""
What the harness asks of a service mesh; one module of this package per mesh answers it.

A driver is the only place that knows its mesh by name. Suites hold a `Mesh` and speak intents, so
that one suite judges many meshes. What a mesh does not claim is `Unsupported`, never a pass.
"""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from harness.cluster import Cluster, Image
    from harness.mesh.intents import Intent
    from harness.mesh.issuance import Issuer

__all__ = [
    "Answer",
    "Certificate",
    "Enrolment",
    "Feature",
    "IngressPoint",
    "Mesh",
    "MeshOptions",
    "Resource",
    "Root",
    "SidecarFacts",
    "Telemetry",
    "Unsecured",
    "Validity",
]

Resource = dict[str, Any]
"""One Kubernetes object as it would stand in a manifest."""


class Feature(enum.StrEnum):
    """What a mesh may claim. The catalogue names for each check the feature that it needs."""

    MTLS = "mtls"
    ROUTING = "routing"
    IDENTITY = "identity"
    ROTATION = "rotation"
    AUTHORIZATION = "authorization"
    BALANCING = "balancing"
    LATENCY_AWARE_BALANCING = "latency-aware-balancing"
    PROTOCOLS = "protocols"
    INTERMEDIARY = "http-intermediary"
    LIFECYCLE = "lifecycle"
    CONTROL_PLANE = "control-plane"
    TELEMETRY = "telemetry"
    UPGRADE = "upgrade"


class MeshOptions(msgspec.Struct, frozen=True, kw_only=True):
    """
    How to install a mesh.

    leaf_lifetime_s: how long a workload's certificate lives.
    proxy_binary: an executable that takes the place of the mesh's own proxy, where it can.
    mutant: the planted defect to install with; only the reference mesh has any.
    control_plane_module, refmesh_module: what the reference mesh's control plane and its `refmesh`
        run; who plants a defect names the twins that take it.
    build: another build than the usual one, as the driver names builds; a git ref for the
        reference mesh.
    """

    leaf_lifetime_s: float = 86_400.0
    proxy_binary: Path | None = None
    mutant: str | None = None
    control_plane_module: str = "reference_mesh.control_plane"
    refmesh_module: str = "reference_mesh.cli"
    build: str | None = None


class Enrolment(msgspec.Struct, frozen=True, kw_only=True):
    """
    How a pod joins the mesh.

    opaque_ports: carried as bytes, without a look inside.
    skip_outbound_ports: destinations that the sidecar leaves alone.
    root: FOREIGN gives the sidecar a trust anchor that is not the mesh's, and only that.
    """

    opaque_ports: tuple[int, ...] = ()
    skip_outbound_ports: tuple[int, ...] = ()
    root: Root = msgspec.field(default_factory=lambda: Root.MESH)


class Root(enum.Enum):
    """
    Which trust anchor a forged certificate chains to.

    MESH: the one that the mesh's issuer is under. SECOND: one that is trusted while `Mesh.trust`
    was told so. FOREIGN: one that never is.
    """

    MESH = "mesh"
    SECOND = "second"
    FOREIGN = "foreign"


class Validity(msgspec.Struct, frozen=True):
    """When a forged certificate is valid, in seconds from now."""

    not_before_s: float = -60.0
    not_after_s: float = 3600.0


class Certificate(msgspec.Struct, frozen=True):
    """A certificate with its intermediates, leaf first, and its private key, all as PEM text."""

    chain_pem: str
    key_pem: str


class IngressPoint(msgspec.Struct, frozen=True, kw_only=True):
    """
    Where and how a peer of the same mesh opens a TLS connection to a pod.

    transport_header_port: when set, the preface that names the application's port is sent first.
    http1_as_http2: peers carry HTTP/1 as HTTP/2.
    """

    port: int
    sni: str
    alpn: tuple[str, ...]
    transport_header_port: int | None = None
    http1_as_http2: bool = False


class SidecarFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the harness must know of a sidecar from outside: container, executable, admin port."""

    container: str
    process: str
    admin_port: int


class Unsecured(enum.StrEnum):
    """Why a connection had no mesh TLS, by the proxy's own word."""

    CLIENT_IN_PLAINTEXT = "the client came without"
    SERVER_NOT_IN_MESH = "the server is not known to take it"
    NOT_LOOKED_AT = "the connection was not looked at"
    UNEXPLAINED = "no reason given"


class Answer(NamedTuple):
    """
    What a proxy says of a response.

    peer: the identity that it authenticated; empty without mesh TLS. status: 0 when none came.
    success: how it judged the response. grpc_status: None when it is no gRPC.
    """

    direction: str
    peer: str
    status: int
    success: bool
    grpc_status: int | None


class Telemetry(msgspec.Struct, frozen=True, kw_only=True):
    """
    What one pod's proxy counted of the application's traffic; its own admin port is left out.

    asked: number of HTTP requests by `(direction, peer)`, the peer as in `Answer`.
    answers: number of HTTP responses.
    timed: number of latencies recorded, by `(direction, peer, status)`.
    requests: number of HTTP responses by `(direction, status, secured)`.
    peers: number of HTTP responses by `(direction, identity)` of the peer, where that was secured.
    unsecured: number of HTTP responses by `(direction, reason)`, where it was not.
    client_identities, server_identities: every peer that the proxy says it authenticated.
    """

    asked: dict[tuple[str, str], int]
    answers: dict[Answer, int]
    timed: dict[tuple[str, str, int], int]
    requests: dict[tuple[str, int, bool], int]
    peers: dict[tuple[str, str], int]
    unsecured: dict[tuple[str, Unsecured], int]
    client_identities: frozenset[str]
    server_identities: frozenset[str]


class Mesh(Protocol):
    """
    One service mesh, driven.

    All methods raise `harness.errors.MeshError` when the mesh refuses what it claims, and
    `Unsupported` for what it does not claim.
    """

    name: str

    identity_headers: tuple[str, ...]
    """By these, in lower case, the application is told who calls; nobody else may set them."""

    @property
    def sidecar(self) -> SidecarFacts | None:
        """What runs beside each application; None for a mesh without sidecars."""

    def version(self) -> str:
        """The version of the mesh's build, as its own tools print it."""

    def features(self) -> frozenset[Feature]:
        """What the mesh claims."""

    def images(self, options: MeshOptions) -> Sequence[Image]:
        """What its pods run, built where it is out of date. `install` loads them."""

    def install(self, cluster: Cluster, options: MeshOptions) -> None:
        """Install the mesh and return when it can take workloads."""

    def upgrade(self, cluster: Cluster, options: MeshOptions) -> None:
        """
        Put another build in the place of the one that is installed, whichever of them is newer.

        Returns when its control plane can take workloads. Sidecars that run go on as they are.
        """

    def trust(self, cluster: Cluster, options: MeshOptions, roots: Collection[Root]) -> None:
        """
        Have these be the mesh's trust anchors, as its operators do it; MESH is one of them.

        Returns when its control plane can take workloads. Sidecars that run may go on with the
        anchors that they have. Pods that start once the earlier control plane has ended get these.
        """

    def until_running(self, cluster: Cluster, options: MeshOptions) -> None:
        """Return when the control plane, installed with these options, can take workloads."""

    def uninstall(self, cluster: Cluster) -> None:
        """Remove what `install` put there; returns when it is gone."""

    def present(self, cluster: Cluster) -> list[str]:
        """Kind and name of what `install` would write over, or `uninstall` delete, as it is."""

    def removal(self, cluster: Cluster) -> str:
        """The shell command by which a user uninstalls the mesh; empty when there is none."""

    def prepare(self, namespace: str) -> list[Resource]:
        """What a namespace needs before pods in it can enroll."""

    def enroll(self, pod: Resource, enrolment: Enrolment | None = None) -> Resource:
        """The pod, or pod template, as a member of the mesh. Does not change its argument."""

    def expose(self, service: Resource, enrolment: Enrolment | None = None) -> Resource:
        """The service in front of pods enrolled so. Does not change its argument."""

    def impersonate(self, pod: Resource) -> Resource:
        """The pod, such that peers take it for a member, though no sidecar runs in it."""

    def express(self, intent: Intent) -> list[Resource]:
        """The resources of this mesh that say `intent`."""

    def identity(
        self, namespace: str, service_account: str, *, trust_domain: str | None = None
    ) -> str:
        """
        The name that the mesh gives to workloads of this service account.

        trust_domain: that of another mesh; None is this one's.
        """

    def issuer(self) -> Issuer:
        """What issues its certificates."""

    def ingress_point(self, namespace: str, service_account: str, port: int) -> IngressPoint:
        """How a peer reaches `port` of a pod of this service account."""

    def forge(self, identity: str, validity: Validity, root: Root) -> Certificate:
        """A certificate that no honest issuer would hand out."""

    def claim(self, identity: str) -> list[tuple[str, str]]:
        """Request fields that would pass the sender off as `identity`, were they believed."""

    def telemetry(self, metrics: str) -> Telemetry:
        """What a proxy counted, read from the text of its metrics endpoint."""

    def control_plane(self) -> Mapping[str, Sequence[str]]:
        """Namespaces and the deployments in them that make the control plane."""
