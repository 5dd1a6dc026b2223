"""Which addresses a node has yet to give before a certain one."""

from __future__ import annotations

import pytest

from harness.plugin.check import Inconclusive
from suites.conformance.addresses import FILLERS, free_before

CIDR = "10.244.1.0/24"


@pytest.mark.parametrize(
    ("address", "last", "used", "free"),
    [
        ("10.244.1.9", "10.244.1.8", set(), 0),
        ("10.244.1.9", "10.244.1.5", set(), 3),
        ("10.244.1.9", "10.244.1.5", {"10.244.1.7", "192.0.2.1"}, 2),
        ("10.244.1.3", "10.244.1.253", set(), 2),
    ],
)
def test_they_are_given_in_turn(address: str, last: str, used: set[str], free: int) -> None:
    assert free_before(address, last, CIDR, used) == free


@pytest.mark.parametrize(
    ("address", "last", "cidr", "why"),
    [
        ("10.244.1.9", "10.244.1.8", "", "no podCIDR"),
        ("10.0.0.9", "10.0.0.8", CIDR, "not addresses of"),
        ("10.244.1.9", "10.244.1.9", CIDR, "to another pod"),
        ("10.244.1.99", "10.244.1.9", CIDR, f"more than {FILLERS}"),
        ("fd00::9", "fd00::10", "fd00::/64", f"more than {FILLERS}"),
        ("10.1.1.1", "10.1.1.1", "10.1.1.1/32", "not addresses of"),
    ],
)
def test_what_cannot_be_used_up_is_no_fault_of_the_mesh(
    address: str, last: str, cidr: str, why: str
) -> None:
    with pytest.raises(Inconclusive, match=why):
        free_before(address, last, cidr, ())
