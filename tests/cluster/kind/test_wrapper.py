"""The program that stands in for kind where pytest-kind starts it."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from harness.cluster.kind.guard import Guard
from harness.cluster.kind.wrapper import wrapped

if TYPE_CHECKING:
    from pathlib import Path


def test_it_adds_our_configuration_and_holds_the_guard(programs, tmp_path: Path) -> None:
    programs.put(
        "kind", "ls -l /proc/$$/fd/9 > /dev/null || echo 'no lifeline' >> " + str(programs.asked)
    )
    config = tmp_path / "a folder" / "kind.yaml"
    config.parent.mkdir()
    reading, writing = os.pipe()
    try:
        script = wrapped(str(programs.folder / "kind"), config, Guard(writing))
        subprocess.run([script, "create", "cluster", "--name=mine"], check=True)
        subprocess.run([script, "get", "clusters"], check=True)
    finally:
        os.close(reading)
        os.close(writing)

    assert programs.calls("") == [
        f"kind create cluster --name=mine --config {config} --retain",
        "kind get clusters",
    ]
