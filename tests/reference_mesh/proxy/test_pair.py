"""The proxy's tests between network namespaces: compiled by who called, run as root."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from harness import toolchain

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.cluster
@pytest.mark.timeout(1200)
def test_two_proxies_in_network_namespaces() -> None:
    tests = compiled()
    # Cargo would start them where their package lies, too.
    ran = subprocess.run([tests], cwd=ROOT / "reference_mesh/proxy", check=False)
    assert ran.returncode == 0, "what failed is above"


def compiled() -> Path:
    """The program that cargo makes of tests/pair; of the profile of the other Rust tests."""
    person = toolchain.invoking_person()
    command = [str(toolchain.find_cargo(person)), "test", "--no-run", "--locked"]
    # Of the whole workspace: with features of its own it would have everything compiled anew.
    command += ["--profile", "quick", "--workspace", "--test", "pair"]
    command += ["--message-format", "json-render-diagnostics"]
    built = toolchain.run_as(person, command, cwd=ROOT)
    assert built.returncode == 0, "what the compiler said is above"
    messages = [json.loads(line) for line in built.stdout.splitlines()]
    (program,) = [
        each["executable"]
        for each in messages
        if each["reason"] == "compiler-artifact" and each["target"]["name"] == "pair"
    ]
    return Path(program)
