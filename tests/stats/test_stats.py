"""The statistics, against tables computed elsewhere and against each other."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.stats import blocks, equivalence, shares

STRICT, USUAL = (1e-3, 0.999), (1e-2, 0.99)
"""`(alpha, power)` of both columns of the table."""


@pytest.mark.parametrize(
    ("share_and_delta", "errors", "n", "region"),
    [
        ((0.5, 0.05), STRICT, 4200, (1991, 2209)),
        ((0.5, 0.05), USUAL, 2450, (1161, 1289)),
        ((0.5, 0.10), STRICT, 1050, (470, 580)),
        ((0.5, 0.10), USUAL, 650, (290, 360)),
        ((0.7, 0.05), STRICT, 3500, (2363, 2544)),
        ((0.7, 0.05), USUAL, 2050, (1384, 1491)),
        ((0.2, 0.05), STRICT, 2750, (472, 617)),
        ((0.2, 0.05), USUAL, 1600, (275, 359)),
        ((0.1, 0.03), STRICT, 4400, (362, 503)),
        ((0.1, 0.03), USUAL, 2550, (210, 292)),
        ((0.1, 0.05), STRICT, 1700, (115, 210)),
        ((0.1, 0.05), USUAL, 1000, (68, 123)),
        ((0.05, 0.03), STRICT, 2650, (78, 169)),
        ((0.05, 0.03), USUAL, 1450, (43, 92)),
        ((0.01, 0.009), STRICT, 6600, (17, 92)),
        ((0.01, 0.009), USUAL, 3750, (10, 52)),
    ],
)
def test_regions_are_those_of_the_table_and_plans_need_no_more_draws(
    share_and_delta: tuple[float, float],
    errors: tuple[float, float],
    n: int,
    region: tuple[int, int],
) -> None:
    alpha, power = errors
    assert equivalence.region(n, *share_and_delta, alpha=alpha) == region
    plan = equivalence.plan(*share_and_delta, alpha=alpha, power=power)
    assert n * 0.97 < plan.n <= n


def test_a_plan_refuses_a_mesh_that_is_off_and_accepts_a_correct_one() -> None:
    plan = equivalence.plan(0.9, 0.05, alpha=0.01, power=0.99)
    draws = random.Random(7)

    def accepted(share: float) -> int:
        counts = (sum(draws.random() < share for _ in range(plan.n)) for _ in range(200))
        return sum(plan.accepts(count) for count in counts)

    assert accepted(0.9) >= 194
    assert accepted(0.85) <= 8


@pytest.mark.parametrize("share", [0.0, 1.0, 1.5])
def test_a_plan_needs_a_share(share: float) -> None:
    with pytest.raises(ValueError, match="no test for"):
        equivalence.plan(share, 0.05)


@pytest.mark.parametrize(("n", "bound"), [(1000, 0.0069), (3000, 0.0023)])
def test_no_hit_bounds_the_share(n: int, bound: float) -> None:
    assert shares.upper_bound_of_zero(n) == pytest.approx(bound, abs=5e-5)


@pytest.mark.parametrize(("hosts", "n"), [(2, 20), (3, 35), (5, 62), (10, 132)])
def test_so_many_requests_would_have_hit_a_host(hosts: int, n: int) -> None:
    assert shares.sample_that_would_hit(1 / hosts) == n


@given(st.integers(1, 400), st.data())
def test_intervals_hold_the_share_that_was_seen(n: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, n))
    low, high = shares.clopper_pearson(hits, n)
    narrow_low, narrow_high = shares.wilson(hits, n)
    assert 0 <= low <= hits / n <= high <= 1
    assert 0 <= narrow_low <= hits / n + 1e-9
    assert hits / n - 1e-9 <= narrow_high <= 1


def test_the_exact_interval_is_the_textbook_one() -> None:
    assert shares.clopper_pearson(0, 100, 0.95) == pytest.approx((0.0, 0.0362), abs=1e-4)
    assert shares.clopper_pearson(7, 20, 0.95) == pytest.approx((0.1539, 0.5922), abs=1e-4)
    assert shares.wilson(7, 20, 0.95) == pytest.approx((0.1812, 0.5671), abs=1e-4)


def test_the_design_effect_tells_round_robin_from_pinned_connections() -> None:
    draws = random.Random(3)
    independent = [sum(draws.random() < 0.5 for _ in range(100)) for _ in range(200)]
    assert shares.design_effect(independent, 100) == pytest.approx(1, abs=0.35)
    assert shares.design_effect([50, 50, 51, 49], 100) < 0.1
    assert shares.design_effect([0, 100, 100, 0], 100) > 50


def test_the_median_of_blocks_is_inside_an_interval_that_shrinks() -> None:
    draws = random.Random(5)
    few = [draws.gauss(1, 0.2) for _ in range(8)]
    many = [draws.gauss(1, 0.2) for _ in range(80)]
    small, large = blocks.median(few), blocks.median(many)
    assert small.interval[0] <= small.value <= small.interval[1]
    assert large.interval[1] - large.interval[0] < small.interval[1] - small.interval[0]
    assert blocks.median(many) == large


def test_a_shift_is_found_and_has_the_sign_of_after() -> None:
    draws = random.Random(9)
    before = [draws.gauss(1.0, 0.05) for _ in range(20)]
    after = [draws.gauss(1.3, 0.05) for _ in range(20)]
    change = blocks.shift(before, after)
    assert change.value == pytest.approx(0.3, abs=0.05)
    assert change.interval[0] > 0.2
    assert blocks.judge(change, practical=0.1, noise=0.05, lower_is_better=True) == "worse"
    assert blocks.judge(change, practical=0.1, noise=0.05, lower_is_better=False) == "better"


def test_noise_makes_a_shift_inconclusive_and_none_the_same() -> None:
    small = blocks.Estimate(0.2, (0.1, 0.3), 20)
    none = blocks.Estimate(0.0, (-0.01, 0.02), 20)
    assert blocks.judge(small, practical=0.05, noise=0.5, lower_is_better=True) == "inconclusive"
    assert blocks.judge(none, practical=0.05, noise=0.5, lower_is_better=True) == "same"


def test_the_interval_of_a_shift_holds_as_often_as_it_says() -> None:
    draws = random.Random(11)
    held = 0
    for _ in range(300):
        before = [draws.expovariate(1) for _ in range(10)]
        after = [draws.expovariate(1) + 0.5 for _ in range(10)]
        low, high = blocks.shift(before, after).interval
        held += low <= 0.5 <= high
    assert held / 300 > 0.91


def test_importing_the_statistics_loads_neither_numpy_nor_scipy() -> None:
    code = (
        "import sys, harness.stats.blocks, harness.stats.equivalence, harness.stats.shares; "
        "sys.exit('numpy' in sys.modules or 'scipy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
