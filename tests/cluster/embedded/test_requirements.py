"""What the engine says before it starts."""

from __future__ import annotations

import os

import pytest

from harness.cluster.embedded import launch
from harness.errors import EnvironmentLacks


def test_without_root_every_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr("sys.argv", ["/opt/venv/bin/meshmark", "up"])
    with pytest.raises(EnvironmentLacks) as lacking:
        launch.require()
    told = str(lacking.value)
    assert "run `sudo /opt/venv/bin/meshmark up`. " in told
    assert "where you may use Docker, `--cluster kind`" in told
    assert "`meshmark run` also takes one that you have, by `--cluster context:NAME`" in told
