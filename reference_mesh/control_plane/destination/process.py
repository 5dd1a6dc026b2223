"""The destination process: destination, policy and validator over one snapshot."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from reference_mesh.control_plane import admin, component, logfmt, serving
from reference_mesh.control_plane.destination.service import Destination
from reference_mesh.control_plane.fanout import Views
from reference_mesh.control_plane.following import Follower
from reference_mesh.control_plane.inspection import Inspection
from reference_mesh.control_plane.kube import client as kube
from reference_mesh.control_plane.kube.denied import Denials
from reference_mesh.control_plane.policy.service import Policy
from reference_mesh.control_plane.snapshot import Snapshot
from reference_mesh.errors import InvalidInput
from reference_mesh.manifests import names

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator, Sequence

    from reference_mesh.control_plane.settings import Settings

__all__ = ["metrics", "run"]

_TLS = Path("/var/run/linkerd/tls")
_log = logfmt.Log("destination")


def run(arguments: Sequence[str]) -> int:
    """Serve until told to end; returns the exit code of the process."""
    parser = component.parser("destination", admin_port=names.DESTINATION_ADMIN_PORT)
    parser.add_argument("--addr", default=f"0.0.0.0:{names.DESTINATION_PORT}")
    parser.add_argument("--policy-addr", default=f"0.0.0.0:{names.POLICY_PORT}")
    parser.add_argument("--validator-addr", default=f"0.0.0.0:{names.WEBHOOK_PORT}")
    parser.add_argument("--tls-dir", type=Path, default=_TLS, help="the validator's certificate")
    flags = parser.parse_args(arguments)
    return component.run("destination", flags, _serve)


async def _serve(flags: argparse.Namespace, chosen: Settings) -> None:
    views = Views()
    snapshot = Snapshot(views.touch)
    views.attach(snapshot)
    denials = Denials()
    follower = Follower(kube.connect(denials), snapshot)
    page = admin.Admin(
        ready=lambda: follower.synced,
        metrics=lambda: metrics(views) + denials.metrics(),
        page=Inspection(snapshot, chosen).page,
    )
    destination = Destination(chosen, views, follower.wait_synced)
    policy = Policy(chosen, views, follower.wait_synced)
    async with (
        component.background([follower.run]),
        admin.serving(page, **component.endpoint(flags.admin_addr)),
        serving.serving([destination.handler()], address=flags.addr) as port,
        serving.serving(policy.handlers(), address=flags.policy_addr) as policy_port,
    ):
        _log.info("serving", port=port, policy_port=policy_port)
        async with _validating(flags):
            await serving.stopped()
        _log.info("ending", watchers=views.watchers)
        views.close()


@contextlib.asynccontextmanager
async def _validating(flags: argparse.Namespace) -> AsyncIterator[None]:
    """
    Serve the validator within the block, if it can be.

    Without it wrong policies are stored, and count as absent; without endpoints and policies
    nothing works. So a bad certificate costs the validator, and not the rest.
    """
    from reference_mesh.control_plane import validator  # noqa: PLC0415 - proxies come first

    async with contextlib.AsyncExitStack() as stack:
        where = component.endpoint(flags.validator_addr)
        try:
            port = await stack.enter_async_context(
                validator.serving(**where, tls_dir=flags.tls_dir)
            )
        except InvalidInput as error:
            _log.error("validator not served", error=error)
        else:
            _log.info("serving validator", port=port)
        yield


def metrics(views: Views) -> str:
    """Metrics of the component, in Prometheus' text format."""
    shown = (
        ("destination_views", "gauge", "Views that are watched.", views.watched),
        ("destination_watchers", "gauge", "Watches on all views.", views.watchers),
        ("destination_compilations_total", "counter", "Views compiled.", views.compiled),
        ("destination_changes_total", "counter", "Compiled views that differed.", views.changed),
    )
    return "".join(
        f"# HELP {name} {text}\n# TYPE {name} {kind}\n{name} {value}\n"
        for name, kind, text, value in shown
    )
