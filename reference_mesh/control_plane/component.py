"""What the processes of the control plane share: flags, start, end, and what an error costs."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from reference_mesh.control_plane import logfmt, settings
from reference_mesh.errors import RefmeshError
from reference_mesh.manifests import names

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable

__all__ = ["Endpoint", "background", "endpoint", "parser", "run"]


class Endpoint(TypedDict):
    """Where a server listens."""

    host: str
    port: int


def parser(component: str, *, admin_port: int) -> argparse.ArgumentParser:
    """A parser with the flags that every component has, named as Linkerd names them."""
    made = argparse.ArgumentParser(prog=f"python -m reference_mesh.control_plane {component}")
    made.add_argument("--controller-namespace", default=names.DEFAULT_NAMESPACE)
    made.add_argument("--log-level", default="info", choices=["error", "warning", "info", "debug"])
    made.add_argument("--admin-addr", default=f"0.0.0.0:{admin_port}", help="admin HTTP address")
    made.add_argument(
        "--config", type=Path, default=settings.VALUES, help="values of the installation"
    )
    return made


def endpoint(address: str) -> Endpoint:
    """Split `host:port`."""
    host, _, port = address.rpartition(":")
    return Endpoint(host=host or "0.0.0.0", port=int(port))  # noqa: S104 - pods take all traffic


def run(
    component: str,
    flags: argparse.Namespace,
    serve: Callable[[argparse.Namespace, settings.Settings], Coroutine[None, None, None]],
) -> int:
    """Serve until told to end. An expected error ends the process with one line in its log."""
    logfmt.configure(flags.log_level)
    log = logfmt.Log(component)
    try:
        chosen = settings.load(flags.config, namespace=flags.controller_namespace)
        asyncio.run(serve(flags, chosen))
    except RefmeshError as error:
        log.error("cannot start", error=error)  # noqa: TRY400 - expected, no traceback
        return error.exit_code
    except (OSError, RuntimeError) as error:
        log.error("cannot serve", error=error)  # noqa: TRY400 - expected, no traceback
        return 1
    return 0


@contextlib.asynccontextmanager
async def background(
    parts: Iterable[Callable[[], Awaitable[None]]],
) -> AsyncIterator[None]:
    """
    Run these parts for ever beside the block, and end them with it.

    A part that fails ends the block and so the process: half a component would look alive.
    """
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_as_coroutine(part)) for part in parts]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


async def _as_coroutine(part: Callable[[], Awaitable[None]]) -> None:
    await part()
