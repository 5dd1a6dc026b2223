"""Facts of Services and EndpointSlices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reference_mesh.control_plane.model import annotated
from reference_mesh.manifests import names

if TYPE_CHECKING:
    from reference_mesh.control_plane.ports import PortSet

__all__ = ["Endpoint", "Service", "ServicePort", "Slice", "service_of", "slice_of"]

_SERVICE_LABEL = "kubernetes.io/service-name"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicePort:
    """One port of a Service."""

    number: int
    name: str = ""
    app_protocol: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A Service as its clients need it."""

    namespace: str
    name: str
    cluster_ips: tuple[str, ...] = ()
    """Virtual addresses; none for a headless one."""

    ports: tuple[ServicePort, ...] = ()
    opaque_ports: PortSet | None = None
    external_name: str | None = None

    def port(self, number: int) -> ServicePort | None:
        """The TCP port with this number, if the Service defines it."""
        return next((port for port in self.ports if port.number == number), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One address behind a Service."""

    addresses: tuple[str, ...]
    ready: bool = True
    terminating: bool = False
    pod: str | None = None
    """Name of the pod, in the slice's namespace; None for an address without one."""

    hostname: str | None = None
    zone: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """An EndpointSlice: endpoints that share ports."""

    namespace: str
    name: str
    service: str
    ports: tuple[tuple[str, int], ...] = ()
    """Name (empty for the only port) and number."""

    endpoints: tuple[Endpoint, ...] = ()


def service_of(document: dict[str, Any]) -> Service:
    """Facts of a Service object."""
    metadata, spec = document["metadata"], document.get("spec") or {}
    noted = metadata.get("annotations") or {}
    addresses = spec.get("clusterIPs") or [spec.get("clusterIP")]
    where = f"service/{metadata['namespace']}/{metadata['name']}"
    return Service(
        namespace=metadata["namespace"],
        name=metadata["name"],
        cluster_ips=tuple(a for a in addresses if a and a != "None"),
        ports=tuple(
            ServicePort(
                number=port["port"],
                name=port.get("name") or "",
                app_protocol=port.get("appProtocol"),
            )
            for port in spec.get("ports") or ()
            if (port.get("protocol") or "TCP") == "TCP"
        ),
        opaque_ports=annotated.port_set(noted, names.OPAQUE_PORTS, where=where),
        external_name=spec.get("externalName") if spec.get("type") == "ExternalName" else None,
    )


def slice_of(document: dict[str, Any]) -> Slice:
    """Facts of an EndpointSlice object; one of names instead of addresses counts as empty."""
    metadata = document["metadata"]
    entries = () if document.get("addressType") == "FQDN" else document.get("endpoints") or ()
    return Slice(
        namespace=metadata["namespace"],
        name=metadata["name"],
        service=(metadata.get("labels") or {}).get(_SERVICE_LABEL, ""),
        ports=tuple(
            (port.get("name") or "", port["port"])
            for port in document.get("ports") or ()
            if port.get("port") and (port.get("protocol") or "TCP") == "TCP"
        ),
        endpoints=tuple(_endpoint(entry) for entry in entries),
    )


def _endpoint(entry: dict[str, Any]) -> Endpoint:
    conditions = entry.get("conditions") or {}
    target = entry.get("targetRef") or {}
    return Endpoint(
        addresses=tuple(entry.get("addresses") or ()),
        # Absent means ready: EndpointSlice API, conditions.ready.
        ready=conditions.get("ready") is not False,
        terminating=bool(conditions.get("terminating")),
        pod=target.get("name") if target.get("kind") == "Pod" else None,
        hostname=entry.get("hostname"),
        zone=entry.get("zone") or "",
    )
