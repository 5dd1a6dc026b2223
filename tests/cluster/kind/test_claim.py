"""Two makers and one name."""

from __future__ import annotations

import pytest

from harness.cluster import kind, places
from harness.cluster.kind.claim import claimed
from harness.errors import UsageError


def test_a_name_has_one_maker_at_a_time_and_leaves_no_trace(programs) -> None:
    with claimed("mine"), claimed("another"):
        with pytest.raises(UsageError, match="another meshmark is making kind cluster mine"):
            kind.up("mine")
        assert programs.calls("kind") == []
    with pytest.raises(ZeroDivisionError), claimed("mine"):
        _ = 1 / 0
    with claimed("mine"):
        pass
    assert list(places.state_folder().iterdir()) == []


def test_what_is_no_name_is_no_file(programs) -> None:
    with pytest.raises(UsageError, match="cannot name a cluster"), claimed("../mine"):
        pass
