"""Names of clusters and addresses of pods."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from harness.cluster.embedded import state
from harness.cluster.embedded.addresses import WISH, Addresses, wished
from harness.errors import ClusterError, UsageError


@pytest.mark.parametrize("name", ["", "Upper", "a/b", "-a", "a" * 41])
def test_what_cannot_name_a_cluster_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="cannot name a cluster"):
        state.read(name)


def test_a_record_of_another_process_is_not_believed(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("SUDO_UID", raising=False)
    found = state.read("old", create=True)
    (found.folder / "state.json").write_text('{"pid": 1, "started": 123456789}')

    assert state.read("old").pid == 0


def test_sudo_keeps_to_the_folder_that_its_caller_names(tmp_path) -> None:
    """A program called sudo, as that is: with the caller's environment, and a child without it."""
    sudo = tmp_path / "sudo"
    sudo.write_text(
        f"#!{sys.executable}\n"
        "import os, subprocess, sys\n"
        "clean = {'PATH': os.environ['PATH'], 'SUDO_UID': '65534', 'SUDO_GID': '65534'}\n"
        "sys.exit(subprocess.run(sys.argv[1:], env=clean).returncode)\n"
    )
    sudo.chmod(0o755)
    script = (
        "import os; os.geteuid = lambda: 0\n"
        "from harness.cluster import places; print(places.state_folder())"
    )
    told = {}
    for named in ({"XDG_STATE_HOME": "/elsewhere"}, {}):
        done = subprocess.run(
            [str(sudo), sys.executable, "-c", script],
            env={"PATH": os.environ["PATH"], **named},
            capture_output=True,
            text=True,
            check=True,
        )
        told[bool(named)] = done.stdout.strip()
    assert told[True] == "/elsewhere/meshmark"
    assert told[False].endswith("/.local/state/meshmark")


def test_addresses_are_not_reused_at_once() -> None:
    addresses = Addresses("10.0.0.0/29", reserved=2)
    first = addresses.take()
    addresses.give_back(first)

    assert addresses.take() != first


def test_a_pod_may_wish_for_a_free_address() -> None:
    addresses = Addresses("10.0.0.0/29", reserved=2)
    first = addresses.take()
    pod = {"metadata": {"annotations": {WISH: f'["{first}"]'}}}

    assert addresses.take(wished(pod)) != first
    addresses.give_back(first)
    assert addresses.take(wished(pod)) == first


@pytest.mark.parametrize("wish", ['["10.9.9.9"]', '["10.0.0.1"]', "[]", "{}", "none", '["x"]'])
def test_a_wish_that_cannot_be_granted_is_passed_over(wish: str) -> None:
    addresses = Addresses("10.0.0.0/29", reserved=2)

    assert addresses.take(wished({"metadata": {"annotations": {WISH: wish}}})) == "10.0.0.2"


def test_running_out_of_addresses_is_said() -> None:
    addresses = Addresses("10.0.0.0/30", reserved=2)
    addresses.take()

    with pytest.raises(ClusterError, match="addresses are in use"):
        addresses.take()
