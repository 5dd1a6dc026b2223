"""No mesh at all: the arm that every claim of a mesh is held against."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from harness.errors import Unsupported
from harness.mesh.protocol import Feature, Telemetry

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from harness.cluster import Cluster, Image
    from harness.mesh.intents import Intent
    from harness.mesh.issuance import Issuer
    from harness.mesh.protocol import (
        Certificate,
        Enrolment,
        IngressPoint,
        MeshOptions,
        Resource,
        Root,
        Validity,
    )

__all__ = ["Unmeshed"]

_WHY = "there is no mesh in this arm"


class Unmeshed:
    """Pods as they are. Claims that requests arrive, and nothing else."""

    name = "unmeshed"
    identity_headers: tuple[str, ...] = ()
    sidecar = None

    def version(self) -> str:
        """Nothing has a version here."""
        return "-"

    def features(self) -> frozenset[Feature]:
        """Requests arrive, by whatever protocol."""
        return frozenset({Feature.ROUTING, Feature.PROTOCOLS})

    def images(self, options: MeshOptions) -> Sequence[Image]:
        """None."""
        return []

    def install(self, cluster: Cluster, options: MeshOptions) -> None:
        """Nothing to install; a planted defect or another proxy has no place to go."""
        if options.mutant or options.proxy_binary:
            raise Unsupported("mutant and proxy binary", _WHY)

    def upgrade(self, cluster: Cluster, options: MeshOptions) -> None:
        """There is one build, and no control plane."""
        raise Unsupported(Feature.UPGRADE, _WHY)

    def trust(self, cluster: Cluster, options: MeshOptions, roots: Collection[Root]) -> None:
        """Nobody trusts anybody."""
        raise Unsupported("trust anchors", _WHY)

    def until_running(self, cluster: Cluster, options: MeshOptions) -> None:
        """At once: there is no control plane."""

    def uninstall(self, cluster: Cluster) -> None:
        """Nothing to remove."""

    def present(self, cluster: Cluster) -> list[str]:
        """Nothing."""
        return []

    def removal(self, cluster: Cluster) -> str:
        """None: there is nothing to uninstall."""
        return ""

    def prepare(self, namespace: str) -> list[Resource]:
        """Nothing: enrolling is a matter of the pod alone."""
        return []

    def enroll(self, pod: Resource, enrolment: Enrolment | None = None) -> Resource:
        """The pod as it is."""
        return copy.deepcopy(pod)

    def expose(self, service: Resource, enrolment: Enrolment | None = None) -> Resource:
        """The service as it is."""
        return copy.deepcopy(service)

    def impersonate(self, pod: Resource) -> Resource:
        """Nobody can be taken for a member of nothing."""
        raise Unsupported("impersonation", _WHY)

    def express(self, intent: Intent) -> list[Resource]:
        """No intent can be expressed."""
        raise Unsupported(type(intent).__name__, _WHY)

    def identity(
        self, namespace: str, service_account: str, *, trust_domain: str | None = None
    ) -> str:
        """Nobody has an identity."""
        raise Unsupported("identity", _WHY)

    def issuer(self) -> Issuer:
        """Nothing issues certificates."""
        raise Unsupported("issuer", _WHY)

    def ingress_point(self, namespace: str, service_account: str, port: int) -> IngressPoint:
        """There is no mesh TLS."""
        raise Unsupported("mesh TLS", _WHY)

    def forge(self, identity: str, validity: Validity, root: Root) -> Certificate:
        """There is no authority to forge."""
        raise Unsupported("certificates", _WHY)

    def claim(self, identity: str) -> list[tuple[str, str]]:
        """There is nothing to claim."""
        raise Unsupported("identity", _WHY)

    def telemetry(self, metrics: str) -> Telemetry:
        """Nothing counts."""
        raise Unsupported("telemetry", _WHY)

    def control_plane(self) -> Mapping[str, Sequence[str]]:
        """There is none."""
        return {}
