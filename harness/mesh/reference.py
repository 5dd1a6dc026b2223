"""
The reference mesh, and Linkerd's dialect that it speaks.

The driver uses the mesh as a user would: it runs `refmesh install`, applies what that prints, and
writes the annotations and policy resources of Linkerd. It owns the certificate authority that it
installs the mesh with, so that it can forge certificates for the checks that must be refused.
"""

from __future__ import annotations

import copy
import json
import shlex
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightkube.resources.core_v1 import Pod

from harness.mesh import resources, scrape
from harness.mesh.authority import Authority
from harness.mesh.protocol import (
    Certificate,
    Enrolment,
    Feature,
    IngressPoint,
    MeshOptions,
    Resource,
    Root,
    SidecarFacts,
    Telemetry,
    Validity,
)
from harness.mesh.reference_build import ReferenceBuild
from harness.mesh.reference_issuer import ReferenceIssuer
from harness.mesh.reference_policy import express
from harness.mesh.reference_presence import present
from harness.waiting import until
from harness.workload.pods import CONFINED

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from harness.cluster import Cluster, Image
    from harness.mesh.intents import Intent
    from harness.mesh.issuance import Issuer

__all__ = ["ReferenceMesh"]

_NAMESPACE = "linkerd"
_TRUST_DOMAIN = "cluster.local"
_INBOUND_PORT = 4143
_TRANSPORT_ALPN = "transport.l5d.io/v1"
_DEPLOYMENTS = ("linkerd-identity", "linkerd-destination", "linkerd-proxy-injector")
_CONTROL_PORTS = "9900,9901"
"""The harness's own ports: neither a denying policy nor a dead sidecar may cut it off."""

_ASKED = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "asked", "namespace": "default"},
    "spec": {"containers": [{"name": "asked", "image": "asked"}]},
}
"""A pod that is never made."""

_SHORT_S = 60.0
"""
Life of a certificate below which a sidecar is told to try again soon.

linkerd2-proxy renews after 70 % of it. Where that fails, it tries again ten seconds later, unless
its environment says otherwise: too late for what lives for less than 34 s.
"""

_REACHED_S = 120.0
"""
A node takes a second or two to learn where a service's pods are; an injector that an upgrade which
failed left in its place, a minute or two to be given the configuration back.
"""

_ENDED_S = 60.0
"""Twice the time that a pod is given to end by itself."""


class ReferenceMesh:
    """Drives the mesh in `reference_mesh/`, with its own proxy or with another of the same kind."""

    name = "reference"
    identity_headers: tuple[str, ...] = ("l5d-client-id",)
    sidecar = SidecarFacts(container="linkerd-proxy", process="linkerd2-proxy", admin_port=4191)

    def __init__(self) -> None:
        self._issuer = ReferenceIssuer(_NAMESPACE, _TRUST_DOMAIN)
        self._others = {
            Root.SECOND: Authority(f"second.identity.{_NAMESPACE}.{_TRUST_DOMAIN}"),
            # The same name as the mesh's own: only its key tells them apart.
            Root.FOREIGN: Authority(f"identity.{_NAMESPACE}.{_TRUST_DOMAIN}"),
        }

    def version(self) -> str:
        """What `refmesh version --client --short` prints."""
        return ReferenceBuild().version

    def features(self) -> frozenset[Feature]:
        """All of them."""
        return frozenset(Feature)

    def images(self, options: MeshOptions) -> Sequence[Image]:
        """Those of the build that the options ask for."""
        return ReferenceBuild.of(options).images()

    def install(self, cluster: Cluster, options: MeshOptions) -> None:
        """Load the images, then `refmesh install --crds` and `refmesh install`, and wait."""
        build = ReferenceBuild.of(options)
        cluster.load_images(build.images())
        client = cluster.client()
        resources.apply(client, resources.documents(build.refmesh("install", "--crds")))
        with tempfile.TemporaryDirectory(prefix="meshmark-ca-") as folder:
            files = self._issuer.authority.write(Path(folder))
            manifest = build.refmesh(
                "install",
                "--ignore-cluster",
                f"--identity-trust-anchors-file={files.trust_anchors}",
                f"--identity-issuer-certificate-file={files.issuer_certificate}",
                f"--identity-issuer-key-file={files.issuer_key}",
                f"--set=identity.issuer.issuanceLifetime={_go_duration(options.leaf_lifetime_s)}",
                *_renewal(options.leaf_lifetime_s),
            )
        resources.apply(client, resources.documents(manifest))
        self.until_running(cluster, options)

    def upgrade(self, cluster: Cluster, options: MeshOptions) -> None:
        """
        As its users do: `refmesh upgrade --crds`, `refmesh upgrade`, wait, `refmesh prune`.

        The build that is brought in runs all three, so that pods run its images.
        """
        build = ReferenceBuild.of(options)
        cluster.load_images(build.images())
        client, where = cluster.client(), _where(cluster)
        resources.apply(client, resources.documents(build.refmesh("upgrade", "--crds")))
        resources.apply(client, resources.documents(build.refmesh("upgrade", *where)))
        self.until_running(cluster, options)
        resources.remove(client, reversed(resources.documents(build.refmesh("prune", *where))))

    def trust(self, cluster: Cluster, options: MeshOptions, roots: Collection[Root]) -> None:
        """
        `refmesh upgrade` with a bundle of these anchors.

        It replaces the control plane's pods; others get the bundle of the injector, once they are
        replaced.
        """
        with tempfile.TemporaryDirectory(prefix="meshmark-ca-") as folder:
            bundle = Path(folder, "ca.crt")
            bundle.write_text("".join(self._authority(root).anchor_pem for root in roots))
            manifest = ReferenceBuild.of(options).refmesh(
                "upgrade", f"--identity-trust-anchors-file={bundle}", *_where(cluster)
            )
        resources.apply(cluster.client(), resources.documents(manifest))
        self.until_running(cluster, options)

    def until_running(self, cluster: Cluster, options: MeshOptions) -> None:
        """
        Wait for the control plane, and until the API server asks this build's injector.

        Before, a new pod gets the sidecar of an earlier build, or none: that is its failure policy.
        """
        build = ReferenceBuild.of(options)
        resources.deployments_available(cluster, _NAMESPACE, _DEPLOYMENTS)
        client = cluster.client()
        asked: Any = Pod.from_dict(self.enroll(_ASKED))

        def sidecars() -> list[str]:
            spec = client.create(asked, dry_run=True).to_dict()["spec"]
            containers = [*spec.get("initContainers", []), *spec["containers"]]
            return [each["image"] for each in containers if each["name"] == self.sidecar.container]

        until(
            sidecars,
            what="new pods get this build's sidecar from the injector",
            holds=lambda images: images == [build.proxy_image],
            timeout_s=_REACHED_S,
            hint="Look closer: refmesh check",
        )

    def uninstall(self, cluster: Cluster) -> None:
        """Delete what `refmesh uninstall` lists, once the pods in the mesh have ended, and wait."""
        if not self.present(cluster):
            return
        listed = until(
            lambda: ReferenceBuild().refmesh("uninstall", *_where(cluster)),
            what="`refmesh uninstall`, which waits for pods in the mesh to end",
            holds=lambda _: True,
            timeout_s=_ENDED_S,
            interval_s=1.0,
        )
        # It lists first what must go first: the webhooks.
        resources.remove(cluster.client(), reversed(resources.documents(listed)))
        until(
            lambda: self.present(cluster),
            what="the mesh gone",
            holds=lambda present: not present,
            timeout_s=_ENDED_S,
            interval_s=0.5,
            hint=f"Look at what holds it: kubectl get namespace {_NAMESPACE} -o yaml",
        )

    def present(self, cluster: Cluster) -> list[str]:
        """What has the names or labels of Linkerd, whoever installed it."""
        return present(cluster.client(), _NAMESPACE)

    def removal(self, cluster: Cluster) -> str:
        """`refmesh uninstall`, piped into kubectl."""
        where = f" --context={shlex.quote(cluster.context)}" if cluster.context else ""
        return f"refmesh uninstall{where} | kubectl delete{where} -f -"

    def prepare(self, namespace: str) -> list[Resource]:
        """Nothing: enrolling is a matter of the pod alone."""
        return []

    def enroll(self, pod: Resource, enrolment: Enrolment | None = None) -> Resource:
        """The pod with the annotations that the injector acts on."""
        enrolment = enrolment or Enrolment()
        pod = copy.deepcopy(pod)
        annotations = pod.setdefault("metadata", {}).setdefault("annotations", {})
        annotations["linkerd.io/inject"] = "enabled"
        annotations["config.linkerd.io/skip-inbound-ports"] = _CONTROL_PORTS
        if enrolment.opaque_ports:
            annotations["config.linkerd.io/opaque-ports"] = _ports(enrolment.opaque_ports)
        if enrolment.skip_outbound_ports:
            annotations["config.linkerd.io/skip-outbound-ports"] = _ports(
                enrolment.skip_outbound_ports
            )
        if enrolment.root is not Root.MESH:
            anchors = {
                "name": "LINKERD2_PROXY_IDENTITY_TRUST_ANCHORS",
                "value": self._authority(enrolment.root).anchor_pem,
            }
            annotations["config.linkerd.io/proxy-additional-env"] = json.dumps([anchors])
        return pod

    def expose(self, service: Resource, enrolment: Enrolment | None = None) -> Resource:
        """The service, with the opaque ports that clients cannot learn from its pods."""
        service = copy.deepcopy(service)
        if enrolment and enrolment.opaque_ports:
            annotations = service["metadata"].setdefault("annotations", {})
            annotations["config.linkerd.io/opaque-ports"] = _ports(enrolment.opaque_ports)
        return service

    def impersonate(self, pod: Resource) -> Resource:
        """
        The pod as the destination service takes a meshed one to be.

        That is: the control-plane label, and a container called linkerd-proxy whose environment
        tells the inbound port. That one does nothing; the impostor listens in another one.
        """
        pod = copy.deepcopy(pod)
        metadata = pod.setdefault("metadata", {})
        metadata.setdefault("labels", {})["linkerd.io/control-plane-ns"] = _NAMESPACE
        metadata.setdefault("annotations", {})["linkerd.io/inject"] = "disabled"
        pod["spec"]["containers"].append(
            {
                "name": "linkerd-proxy",
                "image": pod["spec"]["containers"][0]["image"],
                "args": ["helper", "--ctrl", "127.0.0.1:0"],
                "env": [
                    {
                        "name": "LINKERD2_PROXY_INBOUND_LISTEN_ADDR",
                        "value": f"0.0.0.0:{_INBOUND_PORT}",
                    }
                ],
                "securityContext": CONFINED,
            }
        )
        return pod

    def express(self, intent: Intent) -> list[Resource]:
        """An authorization for each source, and a Server for the target."""
        return express(intent)

    def identity(
        self, namespace: str, service_account: str, *, trust_domain: str | None = None
    ) -> str:
        """Linkerd's name of a service account."""
        domain = trust_domain or _TRUST_DOMAIN
        return f"{service_account}.{namespace}.serviceaccount.identity.{_NAMESPACE}.{domain}"

    def issuer(self) -> Issuer:
        """The identity component."""
        return self._issuer

    def ingress_point(self, namespace: str, service_account: str, port: int) -> IngressPoint:
        """The proxy's inbound port, with the transport header that names the application's."""
        return IngressPoint(
            port=_INBOUND_PORT,
            sni=self.identity(namespace, service_account),
            alpn=(_TRANSPORT_ALPN,),
            transport_header_port=port,
            http1_as_http2=True,
        )

    def forge(self, identity: str, validity: Validity, root: Root) -> Certificate:
        """A leaf of the mesh's own issuer, or of one under another root."""
        return self._authority(root).issue(identity, validity)

    def claim(self, identity: str) -> list[tuple[str, str]]:
        """The field by which a proxy tells its application who calls."""
        return [("l5d-client-id", identity)]

    def telemetry(self, metrics: str) -> Telemetry:
        """What the proxy's `response_total` and peer labels say."""
        return scrape.linkerd(metrics, self.sidecar.admin_port)

    def control_plane(self) -> Mapping[str, Sequence[str]]:
        """The three deployments of namespace linkerd."""
        return {_NAMESPACE: _DEPLOYMENTS}

    def _authority(self, root: Root) -> Authority:
        return self._issuer.authority if root is Root.MESH else self._others[root]


def _where(cluster: Cluster) -> list[str]:
    """The options by which `refmesh` finds the cluster that `cluster.client()` talks to."""
    named = [f"--context={cluster.context}"] if cluster.context else []
    return [f"--kubeconfig={cluster.kubeconfig}", *named]


def _renewal(leaf_lifetime_s: float) -> list[str]:
    """How soon sidecars try again to renew a certificate; their own default when it lives long."""
    if leaf_lifetime_s >= _SHORT_S:
        return []
    variable = "--set=proxy.additionalEnv[0]"
    return [f"{variable}.name=LINKERD2_PROXY_IDENTITY_MIN_REFRESH", f"{variable}.value=1s"]


def _go_duration(seconds: float) -> str:
    return f"{seconds:g}s"


def _ports(ports: Sequence[int]) -> str:
    return ",".join(str(port) for port in ports)
