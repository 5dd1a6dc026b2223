"""`refmesh check`: what is well and what is not, line by line."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import click

from reference_mesh.cli.checks import categories
from reference_mesh.cli.checks.model import Check, Facts, Result, Warned
from reference_mesh.cli.kubernetes import connected
from reference_mesh.cli.options import Where, where_options
from reference_mesh.cli.report import FAIL, OK, WARN
from reference_mesh.errors import RefmeshError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from reference_mesh.cli.checks.model import Category

__all__ = ["command"]

_INTERVAL_S = 0.5
_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0}
_MARKS = {"success": (OK, "green"), "warning": (WARN, "yellow"), "error": (FAIL, "red")}


class _Duration(click.ParamType[float]):
    """`30s`, `5m` or a number of seconds, as seconds."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        match = re.match(r"^([0-9.]+)(s|m|h)?$", str(value))
        if match is None:
            self.fail(f"{value!r} is not a duration like 30s or 5m", param, ctx)
        return float(match[1]) * _UNITS_S[match[2] or "s"]


@click.command("check")
@click.option("--pre", is_flag=True, help="Check what must hold before an installation.")
@click.option("--proxy", is_flag=True, help="Check the pods in the mesh too.")
@click.option("-n", "--namespace", metavar="NAMESPACE", help="Namespace of the pods for --proxy.")
@click.option(
    "-o", "--output", type=click.Choice(["table", "short", "json"]), default="table",
    help="Form of the report.",
)  # fmt: skip
@click.option(
    "--wait", "wait_s", type=_Duration(), default="5m", help="How long pods may take.  [5m]"
)
@where_options
def command(
    where: Where, *, pre: bool, proxy: bool, namespace: str | None, output: str, wait_s: float
) -> None:
    """
    Check the mesh, or with --pre the cluster before it is installed.

    The exit code is 1 when something failed, 0 otherwise.
    """
    with contextlib.ExitStack() as stack:
        facts = Facts(
            connect=lambda: stack.enter_context(connected(where)),
            namespace=where.namespace,
            data_plane_ns=namespace,
        )
        results = _run(
            categories(facts, pre=pre, proxy=proxy), deadline_s=time.monotonic() + wait_s
        )
        if output == "json":
            good = _print_json(list(results))
        else:
            good = _print_table(results, only_trouble=output == "short")
    if not good:
        raise click.exceptions.Exit(1)


def _run(found: Iterable[Category], *, deadline_s: float) -> Iterator[Result]:
    for category in found:
        for check in category.checks:
            result = _result(category.name, check, deadline_s)
            yield result
            if check.fatal and result.result == "error":
                return


def _result(category: str, check: Check, deadline_s: float) -> Result:
    while True:
        try:
            check.run()
        except Warned as warning:
            outcome: Any = "warning"
            message = str(warning)
        except RefmeshError as error:
            if check.patient and time.monotonic() < deadline_s:
                _show_waiting(f"{check.description}: {error}")
                threading.Event().wait(_INTERVAL_S)
                continue
            outcome, message = "error", str(error)
        else:
            return Result(category=category, description=check.description, result="success")
        return Result(
            category=category,
            description=check.description,
            result=outcome,
            error=message,
            hint=check.hint,
        )


def _show_waiting(what: str) -> None:
    """One line that the next one replaces, for people only."""
    if sys.stderr.isatty():
        width = shutil.get_terminal_size().columns
        click.echo(f"\r\x1b[2K- waiting: {what}"[: width + 5] + "\r", err=True, nl=False)


def _print_table(results: Iterable[Result], *, only_trouble: bool) -> bool:
    shown, good = "", True
    for result in results:
        good = good and result.result != "error"
        if only_trouble and result.result == "success":
            continue
        if result.category != shown:
            if shown:
                click.echo()
            click.echo(f"{result.category}\n{'-' * len(result.category)}")
            shown = result.category
        mark, colour = _MARKS[result.result]
        if sys.stderr.isatty():
            click.echo("\x1b[2K", err=True, nl=False)
        click.echo(f"{click.style(mark, fg=colour)} {result.description}")
        for line in (result.error, f"hint: {result.hint}" if result.hint else ""):
            if line:
                click.echo(f"    {line}")
    if shown:
        click.echo()
    click.echo(f"Status check results are {_mark(good=good)}")
    return good


def _mark(*, good: bool) -> str:
    mark, colour = _MARKS["success" if good else "error"]
    return click.style(mark, fg=colour)


def _print_json(results: list[Result]) -> bool:
    good = all(result.result != "error" for result in results)
    grouped: dict[str, list[dict[str, str]]] = {}
    for result in results:
        item = {"description": result.description, "result": result.result}
        if result.error:
            item["error"] = result.error
        if result.hint:
            item["hint"] = result.hint
        grouped.setdefault(result.category, []).append(item)
    listed = [{"categoryName": name, "checks": checks} for name, checks in grouped.items()]
    click.echo(json.dumps({"success": good, "categories": listed}, indent=2, ensure_ascii=False))
    return good
