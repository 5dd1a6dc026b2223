"""What makes a check fail, and what it then says."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from click.testing import Result

PRE, PROXY, HA = ("--pre",), ("--proxy",), ("--ha",)
"""Options of the run; with HA the mesh was installed so."""


@dataclass(frozen=True)
class Cause:
    """
    What makes a check fail, what it then says, and the options of the run that shows it.

    act: causes it on a `FakeApi`. live: on a `LiveApi`, if that takes another act; or else why a
    cluster cannot have it.
    """

    description: str
    act: Callable[[Any], object]
    said: str
    result: str = "error"
    options: tuple[str, ...] = ()
    live: Callable[[Any], object] | str | None = None


def found(result: Result, description: str) -> dict[str, str]:
    """This check, in the output of a run with `-o json`."""
    report = json.loads(result.stdout)
    listed = [check for group in report["categories"] for check in group["checks"]]
    (check,) = [check for check in listed if check["description"] == description]
    return check


def assert_told(result: Result, cause: Cause) -> None:
    check = found(result, cause.description)
    assert (check["result"], cause.said in check.get("error", "")) == (cause.result, True), check
    assert check.get("hint"), f"{cause.description}: what is to be done?"
    assert result.exit_code == (1 if cause.result == "error" else 0) or cause.result == "warning"
