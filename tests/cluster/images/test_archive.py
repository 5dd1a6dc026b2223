"""Archives of images: what is in them, and that the same content is the same image."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest

from harness.cluster.images import Archive, archived, debian
from harness.cluster.model import Image

STATIC = b"#!/static\n"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("SUDO_UID", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "program"
    path.write_bytes(STATIC)
    path.chmod(0o755)
    return path


def image(program: Path, **more: Any) -> Image:
    given = {"binds": [(program, "/bin/p")], "entrypoint": ["/bin/p"], **more}
    return Image(reference="test.dev/p:1.2", **given)


def opened(archive: Archive) -> tuple[dict[str, Any], dict[str, Any], list[tarfile.TarFile]]:
    """The manifest, the configuration and the layers; all digests in them hold."""
    tar = tarfile.open(archive.path)  # noqa: SIM115 - the layers are read from it
    (manifest,) = json.load(tar.extractfile("manifest.json"))
    config = tar.extractfile(manifest["Config"]).read()
    assert archive.id == "sha256:" + hashlib.sha256(config).hexdigest()
    document = json.loads(config)
    for name, digest in zip(manifest["Layers"], document["rootfs"]["diff_ids"], strict=True):
        assert "sha256:" + hashlib.sha256(tar.extractfile(name).read()).hexdigest() == digest
    return (
        manifest,
        document,
        [tarfile.open(fileobj=tar.extractfile(n)) for n in manifest["Layers"]],
    )


def test_a_static_program_is_alone_in_its_image(program: Path) -> None:
    _, document, (layer,) = opened(archived(image(program)))

    files = sorted(entry.name for entry in layer if entry.isfile())
    assert files == ["bin/p", "etc/nsswitch.conf", "usr/share/doc/meshmark/LICENSE"]
    assert layer.extractfile("bin/p").read() == STATIC
    assert layer.getmember("bin/p").mode == 0o755
    assert document["config"]["Entrypoint"] == ["/bin/p"]


def test_the_configuration_says_who_runs_it_and_what_it_is(program: Path) -> None:
    manifest, document, _ = opened(archived(image(program, user=2102, env={"B": "2", "A": "1"})))

    assert manifest["RepoTags"] == ["test.dev/p:1.2"]
    assert document["os"] == "linux"
    assert document["config"]["User"] == "2102"
    assert document["config"]["Env"][1:] == ["A=1", "B=2"]
    assert document["config"]["Labels"]["org.opencontainers.image.version"] == "1.2"


def test_owners_dates_and_modes_of_this_machine_do_not_matter(
    program: Path, tmp_path: Path, cache: Path
) -> None:
    first = archived(image(program))
    shutil.rmtree(cache)
    again = tmp_path / "elsewhere" / "program"
    again.parent.mkdir()
    again.write_bytes(STATIC)
    again.chmod(0o700)
    os.utime(again, (1, 1))

    second = archived(image(again))

    assert second.id == first.id
    _, _, (layer,) = opened(second)
    assert {(entry.uid, entry.gid, entry.mtime) for entry in layer} == {(0, 0, 0)}


def test_another_content_is_another_image(program: Path) -> None:
    first = archived(image(program))
    program.write_bytes(STATIC + b"\n")

    assert archived(image(program)).id != first.id
    assert archived(image(program, user=1)).id != archived(image(program)).id
    assert first.path.exists()  # someone may be loading it


def test_a_dynamic_program_gets_the_c_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tmp_path / "debian"
    (base / "lib").mkdir(parents=True)
    (base / "lib/libc.so.6").write_text("libc")
    asked = []
    monkeypatch.setattr(debian, "base", lambda packages: asked.append(packages) or base)

    _, _, layers = opened(archived(image(Path(shutil.which("sleep")))))

    assert asked == [["libc6", "libgcc-s1"]]
    assert "lib/libc.so.6" in layers[0].getnames()
    assert len(layers) == 2


def test_the_portable_form_is_what_is_built(program: Path) -> None:
    shown = image(Path("/nowhere"), portable=image(program, user=7))

    assert archived(shown).id == archived(image(program, user=7)).id


def test_files_of_python_packages_keep_links_and_folders(program: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner/file").write_text("x")
    (folder / "link").symlink_to("inner/file")

    _, _, (layer,) = opened(archived(image(program, binds=[(folder, "/opt/folder")])))

    assert layer.getmember("opt/folder/link").linkname == "inner/file"
    assert layer.getmember("opt/folder/inner").isdir()
