"""EndpointSlices and Endpoints: which pods a service means at this moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.cluster.embedded.controllers import pods as about
from harness.cluster.embedded.controllers.reconciler import Name, Reconciler
from harness.cluster.embedded.environment import ConfigMissing
from harness.cluster.embedded.probes import port_number
from harness.cluster.embedded.status import NotFound

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable

    from harness.cluster.embedded.resources import Resource
    from harness.cluster.embedded.store import Obj, Store
    from harness.cluster.embedded.watches import Change

__all__ = ["ServiceEndpoints"]

_SERVICES = ("", "services")
_PODS = ("", "pods")
_ENDPOINTS = ("", "endpoints")
_SLICES = ("discovery.k8s.io", "endpointslices")
_SERVICE_NAME = "kubernetes.io/service-name"
_MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
_MANAGER = "endpointslice-controller.k8s.io"
_HEADLESS = "service.kubernetes.io/headless"
_PER_SLICE = 100
"""As in Kubernetes."""

_Ports = tuple[tuple[str, str, int, str], ...]
"""Of each port: name, protocol, number, application protocol."""


class ServiceEndpoints:
    """Keeps the slices and the older Endpoints object of every service with a selector."""

    def __init__(self, store: Store, group: asyncio.TaskGroup, zone: str) -> None:
        self._store = store
        self._zone = zone
        self._queue = Reconciler(group, self._reconcile)
        store.listen(self._changed)

    def _changed(self, resource: Resource, change: Change) -> None:
        metadata = change.object["metadata"]
        if resource.key == _SERVICES:
            self._queue.queue((metadata["namespace"], metadata["name"]))
        elif resource.key == _PODS:
            shown = [change.object, change.old] if change.old else [change.object]
            for service in self._store.scan(_SERVICES):
                of = service["metadata"]
                same = of["namespace"] == metadata["namespace"]
                if same and any(_means(service, pod) for pod in shown):
                    self._queue.queue((of["namespace"], of["name"]))
        elif resource.key == _SLICES and change.type == "DELETED":
            owner = (metadata.get("labels") or {}).get(_SERVICE_NAME)
            if owner:
                self._queue.queue((metadata["namespace"], owner))

    async def _reconcile(self, name: Name) -> None:
        try:
            service = self._store.peek(_SERVICES, *name)
        except NotFound:
            self._remove_endpoints(name)
            return
        if not service["spec"].get("selector") or service["spec"].get("type") == "ExternalName":
            return
        pods = [pod for pod in self._store.list(_PODS, name[0])[0] if _means(service, pod)]
        by_ports: dict[_Ports, list[Obj]] = {}
        for pod in pods:
            if (pod.get("status") or {}).get("podIP") and not _ended(pod):
                by_ports.setdefault(_ports(service, pod), []).append(self._endpoint(service, pod))
        self._write_slices(service, by_ports or {_ports(service, None): []})
        self._write_endpoints(service, by_ports)

    def _endpoint(self, service: Obj, pod: Obj) -> Obj:
        metadata = pod["metadata"]
        serving = about.is_ready(pod)
        terminating = "deletionTimestamp" in metadata
        anyway = bool(service["spec"].get("publishNotReadyAddresses"))
        endpoint: Obj = {
            "addresses": [pod["status"]["podIP"]],
            "conditions": {
                "ready": anyway or (serving and not terminating),
                "serving": serving,
                "terminating": terminating,
            },
            "nodeName": pod["spec"].get("nodeName", ""),
            "targetRef": {
                "kind": "Pod",
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "uid": metadata["uid"],
            },
            "zone": self._zone,
        }
        if pod["spec"].get("hostname") and (
            pod["spec"].get("subdomain") == service["metadata"]["name"]
        ):
            endpoint["hostname"] = pod["spec"]["hostname"]
        return endpoint

    # Slices

    def _write_slices(self, service: Obj, by_ports: dict[_Ports, list[Obj]]) -> None:
        metadata = service["metadata"]
        present = [
            each
            for each in self._store.list(
                _SLICES, metadata["namespace"], {_SERVICE_NAME: metadata["name"]}
            )[0]
            if (each["metadata"]["labels"] or {}).get(_MANAGED_BY) == _MANAGER
        ]
        wanted: list[tuple[_Ports, list[Obj]]] = []
        for ports, endpoints in sorted(by_ports.items()):
            endpoints.sort(key=lambda each: each["targetRef"]["name"])
            starts = range(0, max(len(endpoints), 1), _PER_SLICE)
            wanted += [(ports, endpoints[at : at + _PER_SLICE]) for at in starts]
        for ports, endpoints in wanted:
            # One with the same ports, if there is one, so that a watcher sees one change only.
            shown = [_slice_port(port) for port in ports]
            same = [each for each in present if each.get("ports") == shown]
            old = next(iter(same or present), None)
            if old is not None:
                present.remove(old)
            self._write_slice(service, old, shown, endpoints)
        for stale in present:
            self._store.delete(_SLICES, metadata["namespace"], stale["metadata"]["name"])

    def _write_slice(
        self, service: Obj, old: Obj | None, ports: list[Obj], endpoints: list[Obj]
    ) -> None:
        of = service["metadata"]
        labels = {
            **(of.get("labels") or {}),
            _SERVICE_NAME: of["name"],
            _MANAGED_BY: _MANAGER,
        }
        if service["spec"].get("clusterIP") == "None":
            labels[_HEADLESS] = ""
        if old is None:
            self._store.create(_SLICES, {
                "metadata": {
                    "generateName": f"{of['name']}-",
                    "namespace": of["namespace"],
                    "labels": labels,
                    "ownerReferences": [about.owner_reference(service)],
                },
                "addressType": "IPv4",
                "ports": ports,
                "endpoints": endpoints,
            })  # fmt: skip
            return
        old["metadata"]["labels"] = labels
        self._store.update(_SLICES, {**old, "ports": ports, "endpoints": endpoints})

    # Endpoints

    def _write_endpoints(self, service: Obj, by_ports: dict[_Ports, list[Obj]]) -> None:
        of = service["metadata"]
        wanted: Obj = {
            "metadata": {
                "name": of["name"],
                "namespace": of["namespace"],
                "labels": dict(of.get("labels") or {}),
            },
            "subsets": [_subset(ports, endpoints) for ports, endpoints in sorted(by_ports.items())],
        }
        try:
            old = self._store.get(_ENDPOINTS, of["namespace"], of["name"])
        except NotFound:
            self._store.create(_ENDPOINTS, wanted)
            return
        old["metadata"]["labels"] = wanted["metadata"]["labels"]
        self._store.update(_ENDPOINTS, {**old, "subsets": wanted["subsets"]})

    def _remove_endpoints(self, name: Name) -> None:
        try:
            self._store.delete(_ENDPOINTS, *name)
        except NotFound:
            return


def _means(service: Obj, pod: Obj) -> bool:
    selector = service["spec"].get("selector")
    labels = pod["metadata"].get("labels") or {}
    return bool(selector) and selector.items() <= labels.items()


def _ended(pod: Obj) -> bool:
    return (pod.get("status") or {}).get("phase") in {"Succeeded", "Failed"}


def _ports(service: Obj, pod: Obj | None) -> _Ports:
    """The service's ports as this pod has them; a named one that it lacks is left out."""
    ports = []
    for port in service["spec"].get("ports") or ():
        target = port.get("targetPort")
        number = _number(port["port"] if target in {None, 0, ""} else target, pod)
        if number is not None:
            ports.append(
                (
                    port.get("name") or "",
                    port.get("protocol", "TCP"),
                    number,
                    port.get("appProtocol") or "",
                )
            )
    return tuple(ports)


def _number(target: Any, pod: Obj | None) -> int | None:
    containers: Iterable[Obj] = ()
    if pod is not None:
        sidecars = pod["spec"].get("initContainers") or []
        containers = [*pod["spec"]["containers"], *sidecars]
    for container in containers:
        try:
            return port_number(target, container)
        except ConfigMissing:
            continue
    return int(target) if isinstance(target, int) else None


def _slice_port(port: tuple[str, str, int, str]) -> Obj:
    name, protocol, number, application = port
    shown: Obj = {"name": name, "protocol": protocol, "port": number}
    return shown | ({"appProtocol": application} if application else {})


def _subset(ports: _Ports, endpoints: list[Obj]) -> Obj:
    subset: Obj = {}
    for key, ready in (("addresses", True), ("notReadyAddresses", False)):
        chosen: list[Obj] = [
            {
                "ip": each["addresses"][0],
                "nodeName": each["nodeName"],
                "targetRef": each["targetRef"],
            }
            for each in endpoints
            if each["conditions"]["ready"] is ready
        ]
        if chosen:
            subset[key] = chosen
    shown = [_slice_port(port) for port in ports]
    subset["ports"] = [{key: value for key, value in port.items() if value != ""} for port in shown]
    return subset
