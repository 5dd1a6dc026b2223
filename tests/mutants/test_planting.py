"""Planted defects: the catalogue, the proxy and the twins of the Python parts know the same."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness.plugin.options import suites_folder
from harness.record.catalogue import read_catalogue
from suites.mutants import control_plane, refmesh

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def planted() -> set[str]:
    """Every defect that the proxy, the control plane or `refmesh` can have."""
    proxy = (ROOT / "reference_mesh/proxy/src/mutants.rs").read_text()
    return {
        *re.findall(r'Self::\w+ => "([a-z0-9-]+)"', proxy),
        *control_plane.DEFECTS,
        *refmesh.DEFECTS,
    }


def test_every_defect_of_the_catalogue_can_be_planted(planted) -> None:
    catalogue = read_catalogue(suites_folder() / "conformance/catalogue.toml")

    assert set(catalogue.mutants) <= planted


@pytest.mark.parametrize("twin", [control_plane, refmesh])
def test_every_defect_of_the_python_parts_is_in_the_catalogue(twin) -> None:
    catalogue = read_catalogue(suites_folder() / "conformance/catalogue.toml")

    assert set(twin.DEFECTS) <= set(catalogue.mutants)


@pytest.mark.parametrize("twin", [control_plane, refmesh])
def test_every_defect_finds_what_it_replaces(twin) -> None:
    """In a process of their own: they change modules for good."""
    script = (
        f"import json; from {twin.__name__} import DEFECTS; "
        "print(json.dumps([name for name, plant in DEFECTS.items() if plant() is None]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == list(twin.DEFECTS)
