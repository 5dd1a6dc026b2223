"""Waiting for a service on every node."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from harness.errors import NotInTime
from suites import probes
from suites.probes import Probes


class Probe:
    """A pod that reaches a service at its third try, or never."""

    def __init__(self, name: str, *, ever: bool = True) -> None:
        self.name = name
        self.tries = 0
        self.ever = ever

    def one(self, plan: object) -> SimpleNamespace:
        self.tries += 1
        return SimpleNamespace(status=200 if self.ever and self.tries > 2 else None)


def test_every_node_must_reach_it() -> None:
    pods = (Probe("probes/probe-0"), Probe("probes/probe-1"))
    Probes(pods).until_reached("server.space.svc.cluster.local")

    assert [pod.tries for pod in pods] == [3, 3]


def test_a_node_that_never_does_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "_REACHED_S", 0.0)
    pods = (Probe("probes/probe-1", ever=False),)

    with pytest.raises(NotInTime, match=r"service server\.x answering probes/probe-1"):
        Probes(pods).until_reached("server.x")
