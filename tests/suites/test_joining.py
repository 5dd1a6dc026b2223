from __future__ import annotations

import types

import pytest

from harness.plugin.check import Check, Expectation
from suites.conformance.joining import pairs, refusal


@pytest.fixture
def check():
    return Check(types.SimpleNamespace(id="RT-01"), seed=1)


def outcome(name="a", **facts):
    fields = {"id": name, "error": None, "headers": [], "status": 200, "grpc_status": None}
    return types.SimpleNamespace(**{**fields, **facts})


def attempt(name="a"):
    return types.SimpleNamespace(id=name)


def test_each_outcome_gets_its_attempt(check):
    first, second = outcome("a"), outcome("b")
    found = pairs(check, [first, second], [attempt("b"), attempt("a")], "a way")
    assert [(one.id, other.id) for one, other in found] == [("a", "a"), ("b", "b")]


@pytest.mark.parametrize("arrived", [[], [attempt(), attempt()]])
def test_a_request_that_arrived_never_or_twice_is_told(check, arrived):
    with pytest.raises(Expectation, match="one each"):
        pairs(check, [outcome()], arrived, "a way")


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"status": 403}, "403"),
        ({"error": types.SimpleNamespace(kind="reset")}, "reset"),
        ({"grpc_status": 7, "headers": [("Content-Type", "application/grpc")]}, "grpc 7"),
    ],
)
def test_what_a_client_was_told(facts, told):
    assert refusal(outcome(**facts)) == told
