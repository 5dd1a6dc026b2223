"""What `make` says before there is a virtual environment that could."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

_ROOT = Path(__file__).parents[1]


def test_without_root_every_way_out_is_named(tmp_path: Path) -> None:
    somebody = tmp_path / "id"
    somebody.write_text("#!/bin/sh\necho 1000\n", encoding="ascii")
    somebody.chmod(0o755)
    done = subprocess.run(
        ["make", "--no-print-directory", "conformance"],
        cwd=_ROOT,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    told = done.stdout.splitlines()
    assert "    sudo make conformance" in told
    assert "    make conformance-kind" in told
