"""Stand-ins for the programs `kind` and `docker`: scripts that write down what they are asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


_HEALTHY = """case "$*" in
version) echo kind v0.33.0 go1.24 linux/amd64; exit;;
info*) echo '{"ServerVersion": "28.2", "DefaultRuntime": "meshmark", "CgroupVersion": "2"}'; exit;;
image\\ inspect*) echo sha256:0; exit;;
esac"""


class Programs:
    """The folder of the stand-ins, first on the path."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked = folder / "asked"
        self.asked.touch()

    def put(self, name: str, script: str, *, healthy: bool = True) -> None:
        """Have a program of this name run a shell script, and say that all is well if `healthy`."""
        path = self.folder / name
        lines = ["#!/bin/sh", f'echo "{name} $*" >> {self.asked}', _HEALTHY if healthy else ""]
        path.write_text("\n".join([*lines, script, ""]))
        path.chmod(0o755)

    def calls(self, start: str) -> list[str]:
        """What was asked that starts so."""
        return [line for line in self.asked.read_text().splitlines() if line.startswith(start)]


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    """A machine with Docker and kind, and no cluster."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("SUDO_UID", raising=False)
    made = Programs(folder)
    made.put("docker", "")
    made.put("kind", "")
    return made
