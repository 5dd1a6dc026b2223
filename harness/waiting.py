"""
Waiting for a condition, and remembering what was seen meanwhile.

The only module of the harness that calls `time.sleep`. Each wait keeps its observations, so that
an error can say why the condition did not hold instead of only that it did not.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from harness.errors import MeshmarkError, NotInTime, PodFailed

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Clock", "until"]

T = TypeVar("T")

_KEPT_OBSERVATIONS = 5
"""How many of the last distinct observations an error prints: enough to see a trend."""
_SHOWN_CHARACTERS = 500
"""Of one observation: a whole object of Kubernetes would bury the rest."""


class Clock(Protocol):
    """What a wait needs of time. Tests pass a clock of their own and take no time."""

    def now_s(self) -> float:
        """Seconds from any fixed point, never going back."""

    def sleep_s(self, seconds: float) -> None:
        """Let that much time pass."""


class _MonotonicClock:
    def now_s(self) -> float:
        return time.monotonic()

    def sleep_s(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: TID251 - the one place that may


def until(
    observe: Callable[[], T],
    *,
    what: str,
    timeout_s: float,
    interval_s: float = 0.1,
    holds: Callable[[T], Any] = bool,
    hint: str | Callable[[], str] = "",
    clock: Clock | None = None,
) -> T:
    """
    Call `observe` until `holds` accepts what it returned, and return that.

    what: names the condition and its object, for the error: "pod default/a ready".
    hint: what the reader should look at when it never held; when a function, asked for then.

    Raises:
        NotInTime: after `timeout_s`, with the last distinct observations.
        PodFailed: by `observe`, at once; other errors of the harness count as not yet.

    """
    clock = clock or _MonotonicClock()
    started_s = clock.now_s()
    seen: deque[tuple[float, str]] = deque(maxlen=_KEPT_OBSERVATIONS)
    while True:
        try:
            value = observe()
        except PodFailed:
            raise
        except MeshmarkError as error:
            shown = f"{type(error).__name__}: {error}"
        else:
            if holds(value):
                return value
            shown = repr(value)
            if len(shown) > _SHOWN_CHARACTERS:
                shown = f"{shown[:_SHOWN_CHARACTERS]} …"
        elapsed_s = clock.now_s() - started_s
        if not seen or seen[-1][1] != shown:
            seen.append((elapsed_s, shown))
        if elapsed_s >= timeout_s:
            lines = "\n".join(f"  after {at_s:.1f} s: {text}" for at_s, text in seen)
            told = hint if isinstance(hint, str) else hint()
            tail = f"\n{told}" if told else ""
            raise NotInTime(f"{what}: not within {timeout_s:g} s. Seen:\n{lines}{tail}")
        clock.sleep_s(min(interval_s, max(0.0, timeout_s - elapsed_s)))
