"""What is said of an exception that ended a check."""

from __future__ import annotations

import httpx2
import pytest

from harness.plugin.judge import judge
from harness.record.model import Verdict


def told(error: Exception) -> str:
    judgement = judge(error, "arrange", None, "again")
    assert judgement.verdict is Verdict.ERROR
    assert judgement.failure is not None
    return judgement.failure.message


def test_a_request_without_an_answer_is_named() -> None:
    request = httpx2.Request("GET", "https://127.0.0.1:6443/api/v1/pods?labelSelector=app")
    message = told(httpx2.ConnectError("unexpected EOF", request=request))
    assert message == "GET https://127.0.0.1:6443/api/v1/pods: ConnectError: unexpected EOF"


@pytest.mark.parametrize("error", [httpx2.ConnectError("no route"), OSError("no route")])
def test_what_has_no_request_names_none(error: Exception) -> None:
    assert told(error) == f"{type(error).__name__}: no route"
