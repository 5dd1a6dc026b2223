"""Which Server decides about a port of a pod."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reference_mesh.control_plane.model.pods import Pod
    from reference_mesh.control_plane.model.policies import Server
    from reference_mesh.control_plane.snapshot import Reader

__all__ = ["selects_port", "server_for"]


def server_for(reader: Reader, pod: Pod, port: int) -> Server | None:
    """The oldest Server that selects the pod and the port; the name decides between equals."""
    selecting = [
        server
        for server in reader.servers(pod.namespace)
        if not server.external
        and server.selector.selects(pod.labels)
        and selects_port(server, pod, port)
    ]
    return min(selecting, key=lambda server: (server.created, server.name), default=None)


def selects_port(server: Server, pod: Pod, port: int) -> bool:
    """Whether a Server's port, a number or a name of the pod's ports, is this one."""
    if isinstance(server.port, int):
        return server.port == port
    return port in pod.port_names.get(server.port, frozenset())
