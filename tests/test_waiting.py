"""Waiting remembers what it saw."""

from __future__ import annotations

import pytest

from harness.errors import ClusterError, NotInTime, PodFailed
from harness.waiting import until


class FakeClock:
    def __init__(self) -> None:
        self.time_s = 0.0

    def now_s(self) -> float:
        return self.time_s

    def sleep_s(self, seconds: float) -> None:
        self.time_s += seconds


def test_returns_the_first_value_that_holds() -> None:
    values = iter([0, 0, 7])
    assert until(lambda: next(values), what="seven", timeout_s=1.0, clock=FakeClock()) == 7


def test_gives_up_in_time_and_lists_distinct_observations() -> None:
    seen = iter(["red", "red", "amber", *["amber"] * 50])
    with pytest.raises(NotInTime) as raised:
        until(
            lambda: next(seen),
            what="light green",
            holds=lambda colour: colour == "green",
            timeout_s=2.0,
            interval_s=0.5,
            hint="Look at the lamp.",
            clock=FakeClock(),
        )
    assert str(raised.value) == (
        "light green: not within 2 s. Seen:\n"
        "  after 0.0 s: 'red'\n"
        "  after 1.0 s: 'amber'\n"
        "Look at the lamp."
    )


def test_an_observation_too_long_to_read_is_cut() -> None:
    with pytest.raises(NotInTime) as raised:
        until(
            lambda: "x" * 9000, what="short", holds=lambda _: False, timeout_s=0, clock=FakeClock()
        )
    assert 500 < len(str(raised.value)) < 600


def test_an_error_of_the_harness_counts_as_not_yet() -> None:
    answers = iter([ClusterError("no route"), "up"])

    def observe() -> str:
        answer = next(answers)
        if isinstance(answer, ClusterError):
            raise answer
        return answer

    assert until(observe, what="up", timeout_s=1.0, clock=FakeClock()) == "up"


def test_a_pod_that_failed_for_good_is_not_waited_out() -> None:
    def observe() -> str:
        raise PodFailed("pod web ended")

    with pytest.raises(PodFailed, match="pod web ended"):
        until(observe, what="up", timeout_s=1.0, clock=FakeClock())


def test_a_hint_may_be_asked_for_when_it_is_needed() -> None:
    seen: list[int] = []
    with pytest.raises(NotInTime, match="Looked 3 times"):
        until(
            lambda: seen.append(1),
            what="up",
            timeout_s=1.0,
            interval_s=0.5,
            hint=lambda: f"Looked {len(seen)} times",
            clock=FakeClock(),
        )


def test_an_error_of_the_program_is_not_waited_out() -> None:
    with pytest.raises(KeyError):
        until(lambda: {}["missing"], what="it", timeout_s=1.0, clock=FakeClock())
