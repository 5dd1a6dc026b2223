"""
A periodic timer of the kernel's, to the microsecond.

The event loops under gevent round waits up to whole milliseconds, which is as much as the effect
that is to be measured. A timerfd becomes readable when it is due, and reading it tells how often
it has fired since.
"""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Ticker"]

_CLOCK_MONOTONIC = 1
_RELATIVE = 0
_NS_PER_S = 1_000_000_000


class _Timespec(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("it_interval", _Timespec), ("it_value", _Timespec))


class Ticker:
    """Fires every `gap_ns` nanoseconds once started; a context manager that closes it."""

    def __init__(self, gap_ns: int) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._gap = _Timespec(gap_ns // _NS_PER_S, gap_ns % _NS_PER_S)
        self._fd: int = self._libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            number = ctypes.get_errno()
            raise OSError(number, f"timerfd_create: {os.strerror(number)}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._fd)

    def fileno(self) -> int:
        """The descriptor to wait on for reading."""
        return self._fd

    def start(self) -> None:
        """Fire for the first time one gap from now."""
        timing = _Itimerspec(self._gap, self._gap)
        if self._libc.timerfd_settime(self._fd, _RELATIVE, ctypes.byref(timing), None):
            number = ctypes.get_errno()
            raise OSError(number, f"timerfd_settime: {os.strerror(number)}")

    def fired(self) -> int:
        """How often it has fired since the last call; 0 when it has not."""
        try:
            return int.from_bytes(os.read(self._fd, 8), "little")
        except BlockingIOError:
            return 0
