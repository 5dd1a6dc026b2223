"""`meshmark down`: end a cluster that `meshmark up` started."""

from __future__ import annotations

import click

from harness.cluster import choice

__all__ = ["command"]


@click.command("down")
@click.option("--name", default="meshmark", show_default=True, help="Name of the cluster.")
def command(name: str) -> None:
    """Stop a cluster, whichever engine made it; nothing of it stays."""
    if not choice.down(name):
        click.echo(f"no cluster {name} was up", err=True)
