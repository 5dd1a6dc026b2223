"""`meshmark checks`: the catalogue as a table."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import click

from harness.plugin.options import Options, catalogue_of, suites_folder
from harness.record.model import Level

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["command", "implemented"]


@click.command("checks")
@click.option("--level", type=click.Choice([level.value for level in Level]), help="Only these.")
@click.option("--missing", is_flag=True, help="Only checks without a test.")
@click.option("--suite", default="conformance", show_default=True, help="Suite of the catalogue.")
def command(level: str | None, missing: bool, suite: str) -> None:
    """List every check: id, level, lane, whether it has a test, title."""
    with_test = implemented(suites_folder() / suite)
    shown = 0
    for entry in catalogue_of(Options(suite=suite)):
        if (level and entry.level != level) or (missing and entry.id in with_test):
            continue
        shown += 1
        mark = "✓" if entry.id in with_test else "·"
        click.echo(f"{mark} {entry.id:<7} {entry.level:<12} {entry.lane:<6}  {entry.title}")
    click.echo(f"{shown} checks; ✓ has a test, · has none yet")


def implemented(folder: Path) -> set[str]:
    """The ids that the tests below a folder carry in `@check("…")`, read without importing them."""
    found: set[str] = set()
    for path in folder.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and node.args and isinstance(node.func, ast.Name):
                argument = node.args[0]
                if node.func.id == "check" and isinstance(argument, ast.Constant):
                    found.add(str(argument.value))
    return found
