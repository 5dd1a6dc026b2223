"""What the API server asks of the node agent: everything that the stored objects do not tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Sequence

__all__ = ["Bind", "Image", "LogOptions", "NodeApi", "ProcessFacts"]


class Bind(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file or directory of the host that a container sees, read only."""

    source: str
    target: str


class Image(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an image is to this engine: a read-only view of the host and a command."""

    reference: str
    binds: tuple[Bind, ...] = ()
    entrypoint: tuple[str, ...] = ()
    env: dict[str, str] = {}
    user: int | None = None


class LogOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Which part of a container's log is asked for, as `kubectl logs` words it."""

    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    tail_lines: int | None = None
    since_s: float | None = None
    """Only lines that are not older than this, in seconds."""
    limit_bytes: int | None = None


class ProcessFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One process of a pod, as the machine sees it."""

    container: str
    pid: int
    """In the node's pid namespace."""
    name: str
    pss_bytes: int
    private_dirty_bytes: int
    high_water_bytes: int
    cpu_s: float


class NodeApi(Protocol):
    """The node agent, in the same process and on the same event loop."""

    def logs(
        self, namespace: str, pod: str, container: str, options: LogOptions
    ) -> AsyncIterator[bytes]:
        """
        Chunks of a container's log; with `follow` until the container has ended.

        The caller has made sure that pod and container exist in the store.

        Raises:
            BadRequest: before the first chunk: the container has not started, or there is no
                previous one.

        """

    async def connect(
        self, host: str, port: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """
        A TCP connection, dialled inside the cluster's network.

        host: a pod address, a service address, or `name.namespace.svc`.

        Raises:
            OSError: nobody listens there.

        """

    async def load_images(self, images: Sequence[Image]) -> None:
        """Make images known, replacing those of the same reference. Raises BadRequest."""

    async def processes(self, namespace: str, pod: str) -> Sequence[ProcessFacts]:
        """Facts of each process of a pod's containers. Raises NotFound."""
