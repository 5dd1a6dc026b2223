"""`meshmark up`: a cluster that stays."""

from __future__ import annotations

import click

from harness.cluster import embedded

__all__ = ["command"]


@click.command("up")
@click.option("--name", default="meshmark", show_default=True, help="Name of the cluster.")
@click.option("--port", default=0, help="Port of the API server on loopback; 0 picks a free one.")
def command(name: str, port: int) -> None:
    """Start a cluster, leave it running, and print the line that points kubectl at it."""
    kubeconfig = embedded.up(name, port=port)
    click.echo(f"export KUBECONFIG={kubeconfig}")
