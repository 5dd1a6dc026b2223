"""
The shape that the components of the control plane share: one Deployment with its own sidecar.

The sidecar is an ordinary container, not a native one: a native sidecar must be ready before the
application starts, and identity's sidecar is ready only when identity has answered it.
"""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from reference_mesh.control_plane.injector import containers, environment
from reference_mesh.control_plane.injector.environment import TrustAnchors
from reference_mesh.control_plane.injector.injection import add_sidecar
from reference_mesh.control_plane.injector.patch import apply
from reference_mesh.manifests import availability, names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reference_mesh.manifests.values import EnvVar, Values

__all__ = ["Component", "deployment", "labels", "metadata", "service"]


_LINGER_S = 3
"""
How long a pod that ends goes on serving: as long as callers may take to hear that it ends. The API
server would have an admission refused otherwise, or let a pod through without its sidecar.
"""
_LIVE_S = 5
"""
How long a component may take to tell that it lives. In Kubernetes' one second it did not at a load
of ten a processor, and a restart made it busier still.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """
    One component of the control plane.

    name: of its Deployment and ServiceAccount; `component` is its label and first argument.
    ports: named container ports. local: which control-plane addresses it serves itself.
    volumes: volume name to (volume source, mount path).
    """

    name: str
    component: str
    ports: Mapping[str, int]
    admin_port: int
    local: Mapping[str, str]
    volumes: Mapping[str, tuple[dict[str, Any], str]]
    env: tuple[EnvVar, ...] = ()
    opaque_ports: str = ""


def metadata(
    name: str, namespace: str, component: str = "", *, cluster_wide: bool = False
) -> dict[str, Any]:
    """
    Metadata of an object of the control plane in this namespace.

    cluster_wide: of a kind that has no namespace; it still carries the control plane's label.
    """
    place = {} if cluster_wide else {"namespace": namespace}
    return {"name": name, **place, "labels": labels(namespace, component)}


def labels(namespace: str, component: str = "") -> dict[str, str]:
    """Labels of everything that belongs to the control plane; `prune` and `uninstall` use them."""
    result = {names.CONTROL_PLANE_NS: namespace}
    if component:
        result = {names.COMPONENT: component} | result
    return result


def service(
    name: str,
    namespace: str,
    component: str,
    ports: Mapping[str, tuple[int, int]],
    *,
    headless: bool,
) -> dict[str, Any]:
    """Service of a component. ports: name to (port, container port)."""
    spec: dict[str, Any] = {"type": "ClusterIP"}
    if headless:
        spec["clusterIP"] = "None"
    spec["selector"] = {names.COMPONENT: component}
    spec["ports"] = [
        {"name": port, "port": number, "targetPort": target}
        for port, (number, target) in ports.items()
    ]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(name, namespace, component),
        "spec": spec,
    }


def deployment(
    values: Values, namespace: str, component: Component, anchors_sha256: str
) -> dict[str, Any]:
    """Deployment of a component, with its sidecar in place."""
    template = _with_sidecar(values, namespace, component, _template(values, namespace, component))
    template["metadata"]["annotations"][names.TRUST_ROOT_SHA256] = anchors_sha256
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(component.name, namespace, component.component),
        "spec": {
            "replicas": values.controller_replicas,
            "revisionHistoryLimit": 10,
            "selector": {
                "matchLabels": {
                    names.COMPONENT: component.component,
                    names.CONTROL_PLANE_NS: namespace,
                    names.proxy_owner_label("deployment"): component.name,
                }
            },
            "strategy": availability.strategy(values),
            "template": template,
        },
    }


def _template(values: Values, namespace: str, component: Component) -> dict[str, Any]:
    noted = {
        names.CREATED_BY: f"refmesh/cli {names.VERSION}",
        names.PROXY_VERSION: values.proxy.image.version,
        names.CONFIG + "default-inbound-policy": "all-unauthenticated",
        "checksum/config": hashlib.sha256(msgspec.json.encode(values)).hexdigest(),
        "kubectl.kubernetes.io/default-container": component.component,
    }
    if component.opaque_ports:
        noted[names.OPAQUE_PORTS] = component.opaque_ports
    placed: dict[str, Any] = {}
    if values.priority_class_name:
        placed["priorityClassName"] = values.priority_class_name
    if values.enable_pod_anti_affinity:
        placed["affinity"] = availability.affinity(component.component)
    return {
        "metadata": {
            "annotations": noted | values.pod_annotations,
            "labels": labels(namespace, component.component)
            | {
                names.WORKLOAD_NS: namespace,
                names.proxy_owner_label("deployment"): component.name,
            },
        },
        "spec": {
            "serviceAccountName": component.name,
            "nodeSelector": {"kubernetes.io/os": "linux"},
            **placed,
            "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [_container(values, namespace, component)],
            "volumes": [
                {"name": name, **source} for name, (source, _) in component.volumes.items()
            ],
        },
    }


def _container(values: Values, namespace: str, component: Component) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": component.component,
        "image": f"{values.controller_image}:{values.controller_image_version}",
        "imagePullPolicy": values.image_pull_policy,
        "args": [
            component.component,
            f"--controller-namespace={namespace}",
            f"--log-level={values.controller_log_level}",
        ],
        "ports": [
            {"name": name, "containerPort": number} for name, number in component.ports.items()
        ],
        "livenessProbe": {
            "httpGet": {"path": "/live", "port": component.admin_port},
            "initialDelaySeconds": 10,
            "timeoutSeconds": _LIVE_S,
        },
        "readinessProbe": {
            "httpGet": {"path": "/ready", "port": component.admin_port},
            "failureThreshold": 7,
            "periodSeconds": 2,
        },
        "lifecycle": {"preStop": {"sleep": {"seconds": _LINGER_S}}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "runAsUser": values.controller_uid,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [
            {"name": name, "mountPath": path, "readOnly": True}
            for name, (_, path) in component.volumes.items()
        ],
    }
    resources = containers.requests_and_limits(values.controller_resources)
    if resources:
        container["resources"] = resources
    if component.env:
        container["env"] = [{"name": extra.name, "value": extra.value} for extra in component.env]
    return container


def _with_sidecar(
    values: Values, namespace: str, component: Component, template: dict[str, Any]
) -> dict[str, Any]:
    """
    Add the sidecar of a control-plane pod.

    It dials on loopback what its own pod serves, and leaves the calls to the Kubernetes API alone,
    so that neither waits for the mesh that they make.
    """
    init = values.proxy_init
    ignored = ",".join(
        part for part in (init.ignore_outbound_ports, init.kube_api_server_ports) if part
    )
    values = msgspec.structs.replace(
        values,
        proxy=msgspec.structs.replace(
            values.proxy,
            native_sidecar=False,
            wait_before_exit_seconds=_LINGER_S,
            opaque_ports=component.opaque_ports or values.proxy.opaque_ports,
            default_inbound_policy="all-unauthenticated",
            is_ingress=False,
        ),
        proxy_init=msgspec.structs.replace(init, ignore_outbound_ports=ignored),
    )
    addresses = environment.cluster(values, namespace)
    sidecar = containers.sidecar(
        values,
        control_plane_ns=namespace,
        addresses=dataclasses.replace(addresses, **component.local),
        anchors=TrustAnchors(),
        inbound_ports=",".join(str(port) for port in sorted(component.ports.values())),
    )
    operations = add_sidecar(template, sidecar, labels={}, annotations={})
    return apply(template, operations)
