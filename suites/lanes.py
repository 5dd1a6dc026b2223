"""What the checks of a lane share: made once, and where that failed, not tried for every check."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Generic, TypeVar

import pytest

from harness.errors import ClusterError, Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from harness.record.catalogue import Lane

__all__ = ["Lanes"]

T = TypeVar("T")


class Lanes(contextlib.ExitStack, Generic[T]):
    """
    What the checks of a lane share. It ends with this context.

    what: names it, for errors.
    make: brings it up for a lane.
    answers: raises when what is up is of no more use.
    """

    def __init__(
        self,
        what: str,
        make: Callable[[Lane], AbstractContextManager[T]],
        answers: Callable[[T], None] = lambda _: None,
    ) -> None:
        super().__init__()
        self._what = what
        self._make = make
        self._answers = answers
        self._made: dict[Lane, T] = {}
        self._lost: dict[Lane, BaseException] = {}

    def of(self, lane: Lane) -> T:
        """
        Bring it up for this lane when first asked for.

        Raises:
            ClusterError: an earlier check could not have it, and told why at length.

        """
        if lane in self._lost:
            raise self._again(lane)
        try:
            if lane in self._made:
                self._answers(self._made[lane])
            else:
                self._made[lane] = self.enter_context(self._make(lane))
        except (Exception, pytest.fail.Exception) as error:  # the latter by pytest-timeout
            self._lost[lane] = error
            raise
        return self._made[lane]

    def _again(self, lane: Lane) -> Exception:
        first = self._lost[lane]
        if isinstance(first, Unsupported):
            return Unsupported(first.feature, first.why)
        said = (str(first) or type(first).__name__).splitlines()[0]
        return ClusterError(
            f"lane {lane} has no {self._what}: {said} (the first check that it failed tells more)"
        )
