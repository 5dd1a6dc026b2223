"""
Manifests of workload pods, as plain dictionaries.

A pod has the container `app`, and `helper` beside it when the check looks at packets or processes.
Only the helper has rights, and only the two that it needs: NET_RAW and KILL.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.workload.control import HELPER_PORT, WORKLOAD_PORT
from harness.workload.image import REFERENCE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "BANNER_PORT",
    "CONFINED",
    "HTTP_PORT",
    "TCP_PORT",
    "Role",
    "deployment",
    "pod",
    "pod_template",
    "service",
    "service_account",
]

HTTP_PORT = 8080
"""HTTP/1, HTTP/2 with prior knowledge, gRPC and WebSocket."""

TCP_PORT = 9000
"""TCP echo; the client speaks first."""

BANNER_PORT = 9001
"""TCP echo; the server speaks first."""

Manifest = dict[str, Any]

CONFINED: Manifest = {
    "runAsUser": 1000,
    "runAsNonRoot": True,
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
"""The security context of a container that needs no rights at all."""


@dataclass(frozen=True, slots=True)
class Role:
    """
    One workload: what its pods are called and how they behave.

    name: of Deployment, Service and label `app`; service_account: None uses the name.
    arguments: further options of `meshmark-workload serve`.
    steer: steering of requests that say nothing themselves: a slow pod is `delay=100ms`.
    helper: whether a helper container runs beside the application.
    annotations, labels: of the pods.
    ports: further HTTP ports. grace_s: termination grace period.
    node: the one that they run on; None leaves that to the cluster.
    liveness_path: of a probe by GET at `HTTP_PORT`, which a sidecar sees; none when empty.
    """

    name: str
    namespace: str
    service_account: str | None = None
    arguments: Sequence[str] = ()
    steer: str = ""
    helper: bool = False
    annotations: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    ports: Sequence[int] = ()
    grace_s: int = 15
    node: str | None = None
    liveness_path: str = ""

    @property
    def account(self) -> str:
        """Name of the service account."""
        return self.service_account or self.name

    @property
    def selector(self) -> dict[str, str]:
        """Labels that select exactly the pods of this role."""
        return {"app": self.name}


def pod_template(role: Role) -> Manifest:
    """Metadata and spec of a role's pods."""
    containers = [_app(role)]
    if role.helper:
        containers.append(_helper())
    metadata: Manifest = {"labels": {**role.labels, **role.selector}}
    if role.annotations:
        metadata["annotations"] = dict(role.annotations)
    spec: Manifest = {
        "serviceAccountName": role.account,
        "terminationGracePeriodSeconds": role.grace_s,
        "containers": containers,
    }
    if role.helper:
        spec["shareProcessNamespace"] = True
    if role.node:
        spec["nodeName"] = role.node
    return {"metadata": metadata, "spec": spec}


def pod(role: Role, *, name: str | None = None) -> Manifest:
    """Make a single pod, called like its role unless told otherwise."""
    template = pod_template(role)
    metadata = {"name": name or role.name, "namespace": role.namespace, **template["metadata"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def deployment(role: Role, *, replicas: int = 1) -> Manifest:
    """Make a Deployment that replaces pods one by one, never with fewer than asked for."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": role.name, "namespace": role.namespace, "labels": role.selector},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": role.selector},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
            },
            "template": pod_template(role),
        },
    }


def service(role: Role, *, headless: bool = False) -> Manifest:
    """Make a Service of the role's name, with the numbers of the pods' ports."""
    spec: Manifest = {
        "selector": role.selector,
        "ports": [
            {"name": name, "port": port, "targetPort": port, "protocol": "TCP"}
            for name, port in [*_ports(role), ("ctrl", WORKLOAD_PORT)]
        ],
    }
    if headless:
        spec["clusterIP"] = "None"
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": role.name, "namespace": role.namespace},
        "spec": spec,
    }


def service_account(role: Role) -> Manifest:
    """Make the account that gives the role its identity."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": role.account, "namespace": role.namespace},
    }


def _ports(role: Role) -> list[tuple[str, int]]:
    more = [(f"http-{port}", port) for port in role.ports]
    return [("http", HTTP_PORT), ("tcp", TCP_PORT), ("tcp-banner", BANNER_PORT), *more]


def _app(role: Role) -> Manifest:
    ports = [flag for port in role.ports for flag in ("--http", str(port))]
    if role.ports:
        ports = ["--http", str(HTTP_PORT), *ports]
    steering = ["--steer", role.steer] if role.steer else []
    listed = [
        {"name": name, "containerPort": port, "protocol": "TCP"} for name, port in _ports(role)
    ]
    listed.append({"name": "ctrl", "containerPort": WORKLOAD_PORT, "protocol": "TCP"})
    liveness = {
        "httpGet": {"path": role.liveness_path, "port": HTTP_PORT},
        "periodSeconds": 1,
    }
    return {
        "name": "app",
        "image": REFERENCE,
        "imagePullPolicy": "IfNotPresent",
        "args": ["serve", *ports, *steering, *role.arguments],
        "env": [
            {"name": "HOSTNAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        ],
        "ports": listed,
        "readinessProbe": {
            "httpGet": {"path": "/ready", "port": WORKLOAD_PORT},
            "periodSeconds": 1,
        },
        **({"livenessProbe": liveness} if role.liveness_path else {}),
        "securityContext": CONFINED,
    }


def _helper() -> Manifest:
    return {
        "name": "helper",
        "image": REFERENCE,
        "imagePullPolicy": "IfNotPresent",
        "args": ["helper"],
        "ports": [{"name": "helper", "containerPort": HELPER_PORT, "protocol": "TCP"}],
        "readinessProbe": {
            "httpGet": {"path": "/ready", "port": HELPER_PORT},
            "periodSeconds": 1,
        },
        # Root, so that signals and packet sockets need no more than the two capabilities.
        "securityContext": {
            "runAsUser": 0,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"], "add": ["NET_RAW", "KILL"]},
        },
    }
