"""What Docker tells runc, without the capability that this host cannot give."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from harness.cluster.kind import runc_wrapper
from harness.cluster.kind.runc_wrapper import files_to_edit, without_capability

if TYPE_CHECKING:
    from pathlib import Path

ALL = ["CAP_CHOWN", "CAP_SYS_RESOURCE", "CAP_NET_ADMIN"]
LEFT = ["CAP_CHOWN", "CAP_NET_ADMIN"]


@pytest.mark.parametrize(
    ("arguments", "files"),
    [
        (
            ["--root", "/r", "create", "--bundle", "/b", "--pid-file", "/p", "id"],
            ["/b/config.json"],
        ),
        (["create", "-b", "/b", "id"], ["/b/config.json"]),
        (["run", "--bundle=/b", "id"], ["/b/config.json"]),
        (["create", "id"], ["./config.json"]),
        (["--log", "/l", "exec", "--process", "/t/process", "--detach", "id"], ["/t/process"]),
        (["exec", "id", "sh"], []),
        (["state", "id"], []),
        (["kill", "id", "15"], []),
    ],
)
def test_only_the_files_of_what_starts_a_process_are_edited(
    arguments: list[str], files: list[str]
) -> None:
    assert files_to_edit(arguments) == files


def test_a_bundle_loses_the_capability_from_every_set() -> None:
    spec = {"process": {"args": ["x"], "capabilities": {"bounding": ALL, "effective": ALL}}}
    assert without_capability(spec) == {
        "process": {"args": ["x"], "capabilities": {"bounding": LEFT, "effective": LEFT}}
    }


def test_a_process_file_is_a_process_itself() -> None:
    assert without_capability({"capabilities": {"permitted": ALL}}) == {
        "capabilities": {"permitted": LEFT}
    }


@pytest.mark.parametrize("spec", [{"process": {}}, {"process": {"capabilities": None}}, {}])
def test_what_names_no_capabilities_stays_as_it_is(spec: dict[str, object]) -> None:
    assert without_capability(dict(spec)) == spec


def test_the_installed_program_edits_and_becomes_runc(tmp_path: Path) -> None:
    runc = tmp_path / "runc"
    runc.write_text('#!/bin/sh\necho "runc $*"\n')
    runc.chmod(0o755)
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"process": {"capabilities": {"bounding": ALL}}}))
    done = subprocess.run(
        [sys.executable, "-IS", runc_wrapper.__file__, "create", "--bundle", str(tmp_path), "id"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"runc create --bundle {tmp_path} id\n"
    assert json.loads(config.read_text()) == {"process": {"capabilities": {"bounding": LEFT}}}
