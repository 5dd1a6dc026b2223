"""Which ports are opaque: carried as bytes, without a look at what they hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reference_mesh.control_plane.policy import servers

if TYPE_CHECKING:
    from reference_mesh.control_plane.model.pods import Pod
    from reference_mesh.control_plane.model.services import Service
    from reference_mesh.control_plane.settings import Settings
    from reference_mesh.control_plane.snapshot import Reader

__all__ = ["pod_port", "service_port"]


def service_port(reader: Reader, service: Service, port: int, settings: Settings) -> bool:
    """
    Whether a service's port is opaque to its clients.

    The service's annotation decides, else its namespace's, else the installation's.
    """
    namespace = reader.namespace(service.namespace)
    chosen = service.opaque_ports
    if chosen is None and namespace is not None:
        chosen = namespace.opaque_ports
    return port in (settings.opaque_ports if chosen is None else chosen)


def pod_port(reader: Reader, pod: Pod, port: int, settings: Settings) -> bool:
    """
    Whether a pod's port is opaque.

    A Server of that port decides, else the annotation of pod, namespace, or installation.
    """
    server = servers.server_for(reader, pod, port)
    if server is not None:
        return server.protocol == "opaque"
    namespace = reader.namespace(pod.namespace)
    chosen = pod.opaque_ports
    if chosen is None and namespace is not None:
        chosen = namespace.opaque_ports
    return port in (settings.opaque_ports if chosen is None else chosen)
