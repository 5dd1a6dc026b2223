"""Clusters that stay: `meshmark up` and `meshmark down`, and what goes wrong with them."""

from __future__ import annotations

import socket

import pytest

from harness.cluster import embedded, places
from harness.errors import ClusterError, UsageError

pytestmark = pytest.mark.cluster


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("SUDO_UID", raising=False)


def test_one_that_is_up_is_found_refused_twice_and_leaves_nothing() -> None:
    up = embedded.up("detached")
    try:
        assert embedded.attach("detached").pid == up.pid
        with pytest.raises(UsageError, match=r"no cluster other is up: .* `--name detached`"):
            embedded.attach("other")
        with pytest.raises(UsageError, match=r"already .* run `meshmark down --name detached`"):
            embedded.up("detached")
    finally:
        assert embedded.down("detached")
    assert not embedded.down("detached")
    assert list(places.state_folder().iterdir()) == []
    with pytest.raises(UsageError, match=r"no cluster detached is up: run `meshmark up`$"):
        embedded.attach("detached")


def test_a_port_in_use_is_named_and_nothing_is_left() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ClusterError, match=f"127.0.0.1:{port}: Address already in use; take"):
            embedded.up("blocked", port=port)
    assert list(places.state_folder().iterdir()) == []
