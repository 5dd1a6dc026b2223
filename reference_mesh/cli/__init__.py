"""
`refmesh`: puts the reference mesh on a cluster and looks after it.

Each command lives in a module of its own that is imported when it is asked for, so that help and
completion answer at once.
"""

from __future__ import annotations

import importlib

import click

from reference_mesh.cli.options import Where, where_options
from reference_mesh.errors import RefmeshError

__all__ = ["main"]

_COMMANDS = {
    "check": "Check the installation for potential problems",
    "diagnostics": "Look into the control plane and the proxies",
    "identity": "Show the identity that pods have in the mesh",
    "inject": "Add the sidecar to a Kubernetes config",
    "install": "Output the configuration to install the mesh",
    "profile": "Output a service profile to start from",
    "prune": "Output resources that an upgrade left over",
    "uninject": "Remove the sidecar from a Kubernetes config",
    "uninstall": "Output the resources to delete to uninstall the mesh",
    "upgrade": "Output the configuration to upgrade the mesh",
    "version": "Print the versions of client, control plane and proxies",
}

_FIGURES = (
    "`refmesh diagnostics proxy-metrics -n NAMESPACE deploy/NAME` shows what the proxies count, "
    "by peer and identity"
)
_ELSEWHERE = {
    "viz": f"This mesh has no viz extension: {_FIGURES}.",
    "jaeger": f"This mesh has no jaeger extension: {_FIGURES}.",
    "multicluster": "This mesh spans one cluster: there is no multicluster extension.",
}
"""What to do instead of Linkerd's extensions, which readers of its documentation try."""


class _Lazy(click.Group):
    """Knows the names and one line of every command without importing any."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"reference_mesh.cli.{cmd_name}")
        command = module.command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(sorted(_COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            if args and args[0] in _ELSEWHERE:
                raise click.UsageError(_ELSEWHERE[args[0]], ctx) from error
            known = ", ".join(sorted(_COMMANDS))
            raise click.UsageError(f"{error.message} Commands: {known}.", ctx) from error

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except RefmeshError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(error.exit_code)


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@where_options
@click.pass_context
def main(ctx: click.Context, where: Where) -> None:
    """`refmesh` manages the reference mesh."""
    ctx.obj = where
