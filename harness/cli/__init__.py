"""
`meshmark`: the command line.

Commands are imported when they are called, so that `meshmark --help` answers at once. Every error
of `harness.errors` ends a command with its text on one line and its exit code: 0 good, 1 failed or
worse, 2 inconclusive, 64 usage, 70 harness error.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from pathlib import Path

import click

from harness.errors import MeshmarkError

__all__ = ["main"]

_COMMANDS = {
    "run": ("harness.cli.run", "Run a suite against a mesh."),
    "report": ("harness.cli.report", "Render one run."),
    "compare": ("harness.cli.compare", "Put runs side by side."),
    "checks": ("harness.cli.checks", "List the checks of the catalogue."),
    "doctor": ("harness.cli.doctor", "Say what this system lacks, and install it."),
    "node-image": ("harness.cli.node_image", "Build the image of a kind cluster's nodes."),
    "up": ("harness.cli.up", "Start a cluster and leave it running."),
    "demo": ("harness.cli.demo", "Deploy a small application with traffic, to look at."),
    "images": ("harness.cli.images", "Make container images for a cluster of yours."),
    "down": ("harness.cli.down", "Stop a cluster and all that runs on it."),
}
"""Name of each command, the module whose `command` it is, and its line in the help."""

_USAGE = 64
_HARNESS = 70


class _Commands(click.Group):
    """A group that imports a command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(_COMMANDS[cmd_name][0])
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in _COMMANDS.items()])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="meshmark")
def _cli() -> None:
    """Prove what a service mesh does, measure what it costs, and break it on purpose."""


def main(arguments: list[str] | None = None) -> None:
    """Run `meshmark` and end the process with the exit code of the command."""
    if os.geteuid() == 0 and "SUDO_UID" in os.environ:
        _leave_no_bytecode(int(os.environ["SUDO_UID"]), int(os.environ.get("SUDO_GID", "-1")))
    # A CI that gives up, or `timeout`: what was made is taken down as at Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        code = _cli.main(arguments, prog_name="meshmark", standalone_mode=False)
    except click.UsageError as error:
        error.show()
        code = _USAGE
    except click.ClickException as error:
        error.show()
        code = _HARNESS
    except MeshmarkError as error:
        click.echo(f"meshmark: {error}", err=True)
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("meshmark: interrupted", err=True)
        code = _HARNESS
    sys.exit(code if isinstance(code, int) else 0)


def _leave_no_bytecode(uid: int, gid: int) -> None:
    """Keep root's bytecode out of the user's clone; what is there from getting here is theirs."""
    sys.dont_write_bytecode = True
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    here = Path(__file__).parent
    for cache in (here.parent / "__pycache__", here / "__pycache__"):
        for path in (cache, *cache.glob("*")):
            if path.exists() and path.stat().st_uid == 0:
                os.chown(path, uid, gid, follow_symlinks=False)
