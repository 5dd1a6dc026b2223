"""The images of the reference mesh as they are shipped."""

from __future__ import annotations

import json
import tarfile

import pytest

from harness import toolchain
from harness.cluster.images import archived
from harness.mesh import driver
from harness.mesh.protocol import MeshOptions
from harness.mesh.sources import CLONE

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]  # it may be the first to build them

MOST_BYTES = 25_000_000
"""What the image of a proxy may take, on an empty base."""


def test_the_proxys_image_is_small_and_holds_nothing_else() -> None:
    images = driver("reference").images(MeshOptions())
    (proxy,) = [image for image in images if image.reference.startswith("meshmark.dev/proxy:")]
    archive = archived(proxy)
    with tarfile.open(archive.path) as whole:
        (manifest,) = json.load(whole.extractfile("manifest.json"))  # type: ignore[arg-type]
        config = json.load(whole.extractfile(manifest["Config"]))  # type: ignore[arg-type]

    assert archive.size_bytes <= MOST_BYTES
    assert len(manifest["Layers"]) == 1  # no base
    assert config["config"]["User"] not in {"", "0", "root"}
    assert config["config"]["Labels"]["org.opencontainers.image.version"]


def test_programs_do_not_tell_where_they_were_built() -> None:
    """So that what two people build of the same sources is the same."""
    folders = (toolchain.invoking_person().home, CLONE)
    images = driver("reference").images(MeshOptions())
    programs = [bind.source for image in images for bind in image.normalised()]
    told = {
        program.name: [each for each in folders if f"{each}/".encode() in program.read_bytes()]
        for program in programs
        if program.is_file() and program.read_bytes().startswith(b"\x7fELF")
    }
    assert "linkerd2-proxy" in told
    assert {name: found for name, found in told.items() if found} == {}
