"""The arithmetic of rolling updates."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harness.cluster.embedded.controllers.rolling import Bounds, Count, bounds, scales


def test_percentages_round_in_the_safe_direction() -> None:
    assert bounds(3, "25%", "25%") == Bounds(3, 1, 0)
    assert bounds(10, None, None) == Bounds(10, 3, 2)
    assert bounds(4, 0, 0) == Bounds(4, 0, 1), "something must be able to move"


def test_the_first_rollout_takes_all_at_once() -> None:
    assert scales(Bounds(3, 1, 0), Count("new", 0, 0), []) == {"new": 3}


def test_the_new_set_grows_into_the_surge_first() -> None:
    assert scales(Bounds(3, 1, 0), Count("new", 0, 0), [Count("old", 3, 3)]) == {"new": 1}


def test_an_old_pod_goes_once_a_new_one_is_available() -> None:
    limits, old = Bounds(3, 1, 0), [Count("old", 3, 3)]

    assert scales(limits, Count("new", 1, 0), old) == {}
    assert scales(limits, Count("new", 1, 1), old) == {"old": 2}


def test_unavailable_old_pods_go_first() -> None:
    old = [Count("older", 2, 2), Count("broken", 1, 0)]

    assert scales(Bounds(3, 1, 1), Count("new", 1, 1), old)["broken"] == 0


def test_too_many_new_pods_are_taken_back() -> None:
    assert scales(Bounds(2, 1, 0), Count("new", 5, 5), []) == {"new": 2}


@given(
    replicas=st.integers(0, 12),
    surge=st.integers(0, 4),
    unavailable=st.integers(0, 4),
    ready_first=st.booleans(),
)
def test_a_rollout_ends_and_keeps_its_bounds(
    replicas: int, surge: int, unavailable: int, ready_first: bool
) -> None:
    """Step by step, pods becoming available in between, whatever the bounds are."""
    limits = bounds(replicas, surge, unavailable)
    wanted = {"old": replicas, "new": 0}
    available = {"old": replicas, "new": 0}
    for _ in range(200):
        counts = {name: Count(name, wanted[name], available[name]) for name in wanted}
        steps = scales(limits, counts["new"], [counts["old"]])
        if not steps and available == wanted:
            break
        for name, replicas_now in steps.items():
            wanted[name] = replicas_now
            available[name] = min(available[name], replicas_now)
        assert sum(wanted.values()) <= limits.replicas + limits.surge
        assert sum(available.values()) >= limits.replicas - limits.unavailable
        if not steps or ready_first:
            available["new"] = min(wanted["new"], available["new"] + 1)

    assert wanted == {"old": 0, "new": replicas}
