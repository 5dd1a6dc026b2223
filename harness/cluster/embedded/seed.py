"""The objects that every new cluster has."""

from __future__ import annotations

import os
import platform
from typing import TYPE_CHECKING

from harness.cluster.embedded.addresses import POD_NETWORK
from harness.cluster.embedded.agent import NODE_NAME
from harness.cluster.embedded.bootstrap import API_PORT, NODE_ADDRESS
from harness.cluster.embedded.store import timestamp

if TYPE_CHECKING:
    from harness.cluster.embedded.store import Obj, Store

__all__ = ["ZONE", "plant"]

ZONE = "local"

_NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
_API_SERVICE_ADDRESS = "10.96.0.1"
_DNS_SERVICE_ADDRESS = "10.96.0.10"
_SLICES = ("discovery.k8s.io", "endpointslices")


def plant(store: Store, name: str) -> None:
    """Create namespaces, the node, and the services of the API server and of DNS."""
    for namespace in _NAMESPACES:
        labels = {"kubernetes.io/metadata.name": namespace}
        store.create(
            ("", "namespaces"),
            {
                "metadata": {"name": namespace, "labels": labels},
                "spec": {"finalizers": ["kubernetes"]},
                "status": {"phase": "Active"},
            },
        )
    store.create(("", "nodes"), _node(name))
    _service(
        store,
        "default",
        "kubernetes",
        _API_SERVICE_ADDRESS,
        [("https", "TCP", 443, API_PORT)],
    )
    _service(
        store,
        "kube-system",
        "kube-dns",
        _DNS_SERVICE_ADDRESS,
        [("dns", "UDP", 53, 53), ("dns-tcp", "TCP", 53, 53)],
    )


def _service(
    store: Store,
    namespace: str,
    name: str,
    address: str,
    ports: list[tuple[str, str, int, int]],
) -> None:
    """A service without selector, and its endpoints: what is behind it is not a pod."""
    place = {"name": name, "namespace": namespace}
    labels = {"kubernetes.io/service-name": name}
    store.create(
        ("", "services"),
        {
            "metadata": place,
            "spec": {
                "type": "ClusterIP",
                "clusterIP": address,
                "clusterIPs": [address],
                "ipFamilies": ["IPv4"],
                "ipFamilyPolicy": "SingleStack",
                "sessionAffinity": "None",
                "internalTrafficPolicy": "Cluster",
                "ports": [
                    {"name": port, "protocol": over, "port": number, "targetPort": target}
                    for port, over, number, target in ports
                ],
            },
            "status": {"loadBalancer": {}},
        },
    )
    targets = [{"name": port, "protocol": over, "port": target} for port, over, _, target in ports]
    store.create(
        ("", "endpoints"),
        {
            "metadata": place,
            "subsets": [{"addresses": [{"ip": NODE_ADDRESS}], "ports": targets}],
        },
    )
    store.create(
        _SLICES,
        {
            "metadata": {**place, "labels": labels},
            "addressType": "IPv4",
            "ports": targets,
            "endpoints": [
                {
                    "addresses": [NODE_ADDRESS],
                    "conditions": {"ready": True, "serving": True, "terminating": False},
                }
            ],
        },
    )


def _node(cluster: str) -> Obj:
    now = timestamp()
    memory_kib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1024
    resources = {
        "cpu": str(len(os.sched_getaffinity(0))),
        "memory": f"{memory_kib}Ki",
        "pods": "1000",
    }
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "KubeletReady",
        "message": "the node agent runs in the engine's process",
        "lastHeartbeatTime": now,
        "lastTransitionTime": now,
    }
    return {
        "metadata": {
            "name": NODE_NAME,
            "labels": {
                "kubernetes.io/arch": machine,
                "kubernetes.io/hostname": NODE_NAME,
                "kubernetes.io/os": "linux",
                "node-role.kubernetes.io/control-plane": "",
                "topology.kubernetes.io/region": ZONE,
                "topology.kubernetes.io/zone": ZONE,
                "meshmark.dev/cluster": cluster,
            },
        },
        "spec": {"podCIDR": POD_NETWORK, "podCIDRs": [POD_NETWORK]},
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": NODE_ADDRESS},
                {"type": "Hostname", "address": NODE_NAME},
            ],
            "allocatable": resources,
            "capacity": resources,
            "conditions": [ready],
            "nodeInfo": {
                "architecture": machine,
                "bootID": "",
                "containerRuntimeVersion": "meshmark://0.1.0",
                "kernelVersion": platform.release(),
                "kubeProxyVersion": "",
                "kubeletVersion": "v1.34.0",
                "machineID": "",
                "operatingSystem": "linux",
                "osImage": "the host's",
                "systemUUID": "",
            },
        },
    }
