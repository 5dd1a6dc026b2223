"""
Logs of the control plane: one line per fact, `key=value`, to stderr.

A fact is a constant text with named values, so that logs can be searched by either. Values never
hold tokens or keys: callers name the fields that they log, and no object is dumped whole.
"""

from __future__ import annotations

import datetime as dt
import logging
import sys
from typing import Any

__all__ = ["Log", "configure"]

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:@+,*[]()")
_LONGEST_VALUE = 512
"""Characters of one value; what a client sent may be in it."""


class Log:
    """Facts of one component."""

    def __init__(self, component: str) -> None:
        self._logger = logging.getLogger(f"reference_mesh.{component}")

    def debug(self, fact: str, **values: object) -> None:
        """A fact that only a developer of the mesh needs."""
        self._write(logging.DEBUG, fact, values)

    def info(self, fact: str, **values: object) -> None:
        """A fact of normal work."""
        self._write(logging.INFO, fact, values)

    def warning(self, fact: str, **values: object) -> None:
        """A fact that somebody should look at; the mesh goes on."""
        self._write(logging.WARNING, fact, values)

    def error(self, fact: str, **values: object) -> None:
        """A fact that keeps the component from its work."""
        self._write(logging.ERROR, fact, values)

    def _write(self, level: int, fact: str, values: dict[str, object]) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, "%s", fact, extra={"values": values})


def configure(level: str) -> None:
    """Send every log of the process, libraries included, through this format."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Logfmt())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("reference_mesh").setLevel(level.upper())


class _Logfmt(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        when = dt.datetime.fromtimestamp(record.created, tz=dt.UTC)
        values: dict[str, Any] = {
            "time": when.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "component": record.name.removeprefix("reference_mesh."),
            "msg": record.getMessage(),
            **getattr(record, "values", {}),
        }
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            values["error"] = f"{type(error).__name__}: {error}"
            values["at"] = _place(error)
        return " ".join(f"{key}={_shown(value)}" for key, value in values.items())


def _shown(value: object) -> str:
    text = str(value)[:_LONGEST_VALUE]
    if text and _PLAIN.issuperset(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else repr(c)[1:-1] for c in escaped) + '"'


def _place(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "unknown"
    return f"{trace.tb_frame.f_globals.get('__name__', '?')}:{trace.tb_lineno}"
