"""`meshmark node-image`: the image that the nodes of a kind cluster are made from."""

from __future__ import annotations

import errno
import sys
import time
from typing import TYPE_CHECKING

import click

from harness.cluster.kind import docker
from harness.cluster.kind.node_image import BUILT, build
from harness.errors import EnvironmentLacks

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.cluster.kind.go import Progress

__all__ = ["command"]

_TELL_EVERY_S = 30.0
"""How often progress is told where lines stay: in logs."""

_WIDTH = 100


@click.group("node-image")
def command() -> None:
    """Make the image of a kind cluster's nodes, where no registry can be reached."""


@command.command("build")
@click.option("--tag", default=BUILT, show_default=True, help="Name of the image in Docker.")
def _build(tag: str) -> None:
    """
    Build a node image from Debian packages and Go modules.

    Interrupted, it goes on where it was; what did not change since the last time is not built
    again.
    """
    docker.daemon()
    if build.is_current(tag):
        click.echo(f"{tag} is up to date")
        return
    assembly = build.Stage("all of it in Docker", 1, lambda told: build.build(tag, told))
    steps = [*build.STAGES, assembly]
    minutes = sum(step.minutes for step in steps)
    click.echo(
        f"building {tag} from Debian packages and Go modules in {len(steps)} steps: about "
        f"{minutes:.0f} minutes on two idle cores the first time.\n"
        "It needs 12 GB of disk, most of it for Go's caches. Interrupted, it goes on where it was."
    )
    started_s = time.monotonic()
    try:
        for number, step in enumerate(steps, 1):
            _take(f"[{number}/{len(steps)}] {step.title}", step.minutes, step.make)
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise EnvironmentLacks(
            f"the disk is full ({error.filename or 'in the cache'}): make room and run this again; "
            "what is done so far is kept"
        ) from error
    click.echo(f"{tag} is built, in {time.monotonic() - started_s:.0f} s")


def _take(title: str, minutes: float, make: Callable[[Progress], object]) -> None:
    """Make one step and say how long it took; on a terminal its progress is one changing line."""
    started_s = told_s = time.monotonic()
    live = sys.stdout.isatty()

    def told(text: str) -> None:
        nonlocal told_s
        now_s = time.monotonic()
        if live:
            click.echo(f"\r\x1b[K{f'{title}: {text}'[:_WIDTH]}", nl=False)
        elif now_s - told_s >= _TELL_EVERY_S:
            told_s = now_s
            click.echo(f"{title}: {now_s - started_s:.0f} s, {text}")

    told(f"about {minutes:g} min, less if it was made before")
    make(told)
    cleared = "\r\x1b[K" if live else ""
    click.echo(f"{cleared}{title}: {time.monotonic() - started_s:.1f} s")
