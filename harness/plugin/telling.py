"""
What a run says in the terminal: one line per check as it ends, and one last line.

What did not pass is told again above the last line, as pytest's own summary does: the lines of the
checks after it have pushed it off the screen, and a CI's page shows the end of a log first.

Words and marks carry the meaning, colour only repeats it, so that a log file and NO_COLOR lose
nothing.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from typing import TYPE_CHECKING

from harness.record.model import CheckRecord, Run, Verdict

if TYPE_CHECKING:
    from pathlib import Path

    from _pytest._io import TerminalWriter

__all__ = ["Teller", "check_line", "failure_lines", "figure_text", "last_line", "measured_text"]

_MARKS = {
    Verdict.PASS: ("✓", "green"),
    Verdict.FAIL: ("✗", "red"),
    Verdict.ERROR: ("!", "red"),
    Verdict.INCONCLUSIVE: ("?", "yellow"),
    Verdict.KNOWN_FAIL: ("~", "yellow"),
    Verdict.NOT_RUN: ("·", "yellow"),
    Verdict.UNSUPPORTED: ("-", "cyan"),
    Verdict.NOT_IMPLEMENTED: ("·", "cyan"),
}
_TOLD_AGAIN = (Verdict.FAIL, Verdict.ERROR, Verdict.INCONCLUSIVE)
_AT_MOST_AGAIN = 8
_WIPE = "\r\x1b[2K"
_TITLE_WIDTH = 54
_WIDTH = 100


class Teller:
    """Writes progress to pytest's terminal writer."""

    def __init__(self, writer: TerminalWriter, *, alive: bool) -> None:
        """`alive`: a person watches, so say what runs until the next line comes."""
        self._writer = writer
        self._alive = alive
        self._told = 0
        self._last: CheckRecord | None = None

    def line(self, text: str) -> None:
        """One line of progress."""
        self._wipe()
        self._writer.line(text)
        self._writer.flush()

    def running(self, test: str) -> None:
        """A test has begun."""
        if self._alive:
            self._writer.write(f"{_WIPE}… {test}")
            self._writer.flush()

    def _wipe(self) -> None:
        if self._alive:
            self._writer.write(_WIPE)

    def check(self, record: CheckRecord, total: int) -> None:
        """One check has ended."""
        self._wipe()
        self._told += 1
        self._last = record
        width = len(str(total))
        self._writer.write(f"[{self._told:{width}}/{total}] ")
        self._in_full(record, indent=2 * width + 4)
        self._writer.flush()

    def last(self, run: Run, report: Path | None) -> None:
        """What it all came to, below what did not pass."""
        self._wipe()
        left = [record for record in run.checks if record.verdict in _TOLD_AGAIN]
        if left != [self._last]:
            for record in left[:_AT_MOST_AGAIN]:
                self._in_full(record, indent=2)
        bad = any(one.verdict in (Verdict.FAIL, Verdict.ERROR) for one in run.checks)
        self._writer.line(last_line(run, report), bold=True, red=bad, green=not bad)
        self._writer.flush()

    def _in_full(self, record: CheckRecord, *, indent: int) -> None:
        self._writer.line(check_line(record), **{_MARKS[record.verdict][1]: True})
        for line in failure_lines(record):
            self._writer.line(f"{'':{indent}}{line}")


def check_line(record: CheckRecord) -> str:
    """`✓ RT-01   Reachability without config     pass   0.42 s`."""
    title = textwrap.shorten(record.title, _TITLE_WIDTH, placeholder=" …")
    measured = measured_text(record)
    mark = _MARKS[record.verdict][0]
    told = f"{mark} {record.id:<7} {title:<{_TITLE_WIDTH}} {record.verdict:<12}"
    return f"{told} {record.seconds:6.1f} s" + (f"  {measured}" if measured else "")


def measured_text(record: CheckRecord) -> str:
    """`0.897 share [0.885, 0.908], n=4400`, or nothing when the check measured no quantity."""
    if record.value is None:
        return ""
    return figure_text(record.value, record.unit, record.interval, record.n)


def figure_text(
    value: float, unit: str, interval: tuple[float, float] | None, n: int | None
) -> str:
    """A quantity with its unit, interval and sample size."""
    text = f"{value:.4g} {unit}".strip()
    if interval is not None:
        text += f" [{interval[0]:.4g}, {interval[1]:.4g}]"
    return text + (f", n={n}" if n is not None else "")


def failure_lines(record: CheckRecord) -> list[str]:
    """Why a check did not pass, where it was, and how to run it again; nothing for a pass."""
    if record.failure is None:
        wanted = record.reason and record.verdict is not Verdict.PASS
        return [textwrap.shorten(record.reason, _WIDTH, placeholder=" …")] if wanted else []
    failure = record.failure
    message = failure.message.splitlines() or [""]
    lines = [f"in {failure.phase}: {message[0]}", *(f"  {line}" for line in message[1:12])]
    if failure.expected or failure.seen:
        lines += [f"  expected: {failure.expected}", f"  seen:     {failure.seen}"]
    if record.reason:
        lines.append(record.reason)
    if failure.rerun:
        lines.append(f"again: {failure.rerun}")
    return lines


def last_line(run: Run, report: Path | None) -> str:
    """The one line that says what passed, what failed, what is missing, where the report is."""
    counts = Counter(record.verdict for record in run.checks)
    parts = [f"{counts[Verdict.PASS]} passed"]
    for verdict, word in (
        (Verdict.FAIL, "failed"),
        (Verdict.ERROR, "could not be asked"),
        (Verdict.INCONCLUSIVE, "inconclusive"),
        (Verdict.KNOWN_FAIL, "known to fail"),
    ):
        ids = [record.id for record in run.checks if record.verdict is verdict]
        if ids:
            named = ", ".join(ids[:8]) + (" …" if len(ids) > 8 else "")
            parts.append(f"{len(ids)} {word} ({named})")
    for verdict, word in (
        (Verdict.NOT_RUN, "not run"),
        (Verdict.UNSUPPORTED, "unsupported"),
        (Verdict.NOT_IMPLEMENTED, "not implemented"),
    ):
        if counts[verdict]:
            parts.append(f"{counts[verdict]} {word}")
    name = f"{run.suite} of {run.mesh.name} {run.mesh.version}".strip()
    state = "" if run.complete else " INCOMPLETE:"
    where = f"; report: {report}" if report else ""
    return f"{name}:{state} {', '.join(parts)}{where}"
