"""`meshmark node-image`: the image that the nodes of a kind cluster are made from."""

from __future__ import annotations

import contextlib
import errno
import sys
import threading
import time
from typing import TYPE_CHECKING

import click

from harness.cluster.kind import docker, go
from harness.cluster.kind.node_image import BUILT, build, freshness, node_image
from harness.errors import EnvironmentLacks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from harness.cluster.kind.go import Progress
    from harness.cluster.kind.node_image import Choice

__all__ = ["command"]

_TELL_EVERY_S = 30.0
"""How often progress is told where lines stay: in logs."""

_WIDTH = 100
_CLEAR = "\r\x1b[K"


@click.group("node-image")
def command() -> None:
    """Make the image of a kind cluster's nodes, where no registry can be reached."""


@command.command("build")
@click.option("--tag", default=BUILT, show_default=True, help="Name of the image in Docker.")
@click.option(
    "--if-needed",
    is_flag=True,
    help="Build nothing where Docker has an image of nodes, or can pull kind's own.",
)
def _build(tag: str, if_needed: bool) -> None:
    """
    Build a node image from Debian packages and Go modules.

    Interrupted, it goes on where it was; what did not change since the last time is not built
    again.
    """
    docker.daemon()
    if if_needed and (found := _found()):
        click.echo(f"nodes are made from {found.reference}: {found.reason}")
        return
    if freshness.is_current(tag):
        click.echo(f"{tag} is up to date")
        return
    go.find()
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


def _found() -> Choice | None:
    """What there is already, or can be pulled."""
    try:
        return node_image()
    except EnvironmentLacks:
        return None


def _take(title: str, minutes: float, make: Callable[[Progress], object]) -> None:
    """Make one step and say how long it took, and meanwhile how far it is."""
    started_s = time.monotonic()
    last = f"about {minutes:g} min, less if it was made before"
    live = sys.stdout.isatty()

    def hear(text: str) -> None:
        nonlocal last
        last = text

    def tell() -> None:
        line = f"{title}: {time.monotonic() - started_s:.0f} s, {last}"
        click.echo(f"{_CLEAR}{line[:_WIDTH]}" if live else line, nl=not live)

    with _repeated(tell, 1.0 if live else _TELL_EVERY_S):
        make(hear)
    click.echo(f"{_CLEAR if live else ''}{title}: {time.monotonic() - started_s:.1f} s")


@contextlib.contextmanager
def _repeated(call: Callable[[], None], every_s: float) -> Iterator[None]:
    """Call it again and again during the block; the programs that work here say too little."""
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(every_s):
            call()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
