"""
From an exception to a verdict: the rules, and nothing else.

| raised                                   | while        | verdict                              |
|------------------------------------------|--------------|--------------------------------------|
| Unsupported                              | anywhere     | unsupported; fail if mesh claims it  |
| Inconclusive                             | anywhere     | inconclusive                         |
| Skipped                                  | anywhere     | not-run                              |
| anything else                            | arrange      | error                                |
| anything else                            | tear down    | error                                |
| an assertion, NotInTime, MeshError       | control      | inconclusive                         |
| an assertion, NotInTime, MeshError       | other phases | fail                                 |
| anything else                            | other phases | error: harness or cluster broke      |
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx2
import msgspec
import pytest

from harness.errors import MeshError, NotInTime, Unsupported
from harness.plugin.check import Expectation, Inconclusive
from harness.record.model import Failure, Verdict

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["Judgement", "judge"]

_ABOUT_THE_MESH = (AssertionError, pytest.fail.Exception, NotInTime, MeshError)
_NOT_THE_MESH = ("arrange", "tear down")


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """A verdict with its failure, or with a reason of one line when it is no failure."""

    verdict: Verdict
    failure: Failure | None = None
    reason: str = ""


def judge(
    error: BaseException, phase: str, claimed: Collection[str] | None, rerun: str
) -> Judgement:
    """
    What the exception that ended a test says about the mesh.

    phase: where it was raised. claimed: features that the mesh claims; None while not known.
    rerun: the command line for the failure.
    """
    if isinstance(error, pytest.skip.Exception):
        return Judgement(verdict=Verdict.NOT_RUN, reason=str(error.msg))
    if isinstance(error, Unsupported):
        if error.feature not in (claimed or ()):
            return Judgement(verdict=Verdict.UNSUPPORTED, reason=str(error))
        failure = Failure(
            phase=phase, message=f"the mesh claims {error.feature} and refuses it: {error.why}"
        )
        return Judgement(verdict=Verdict.FAIL, failure=_with(failure, error, rerun))
    failure = _with(Failure(phase=phase, message=_message(error)), error, rerun)
    return Judgement(verdict=_verdict(error, phase), failure=failure)


def _verdict(error: BaseException, phase: str) -> Verdict:
    if isinstance(error, Inconclusive):
        return Verdict.INCONCLUSIVE
    timed_out = isinstance(error, pytest.fail.Exception) and "pytest-timeout" in str(error.msg)
    if phase in _NOT_THE_MESH or timed_out or not isinstance(error, _ABOUT_THE_MESH):
        return Verdict.ERROR
    return Verdict.INCONCLUSIVE if phase == "control" else Verdict.FAIL


def _message(error: BaseException) -> str:
    text = str(error).strip()
    if isinstance(error, Expectation):
        text = error.what
    elif not isinstance(error, (*_ABOUT_THE_MESH, Inconclusive)):
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
        text = f"{_asked(error)}{text}"
    notes = getattr(error, "__notes__", [])
    return "\n".join([text or type(error).__name__, *notes])


def _asked(error: BaseException) -> str:
    """The request that got no answer, where that is what went wrong."""
    if not isinstance(error, httpx2.RequestError):
        return ""
    try:
        request = error.request
    except RuntimeError:  # it was never made
        return ""
    return f"{request.method} {request.url.copy_with(query=None)}: "


def _with(failure: Failure, error: BaseException, rerun: str) -> Failure:
    if isinstance(error, Expectation):
        failure = msgspec.structs.replace(failure, expected=error.expected, seen=error.seen)
    return msgspec.structs.replace(failure, rerun=rerun)
