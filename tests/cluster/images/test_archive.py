"""Archives of images: what is in them, and that the same content is the same image."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tarfile
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from harness import toolchain
from harness.cluster import places
from harness.cluster.images import Archive, archived, debian, layers, wheels
from harness.cluster.model import Image
from harness.errors import ClusterError, EnvironmentLacks
from harness.toolchain import Person

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


@pytest.mark.parametrize(
    ("number", "kind", "told"),
    [
        (errno.ENOSPC, EnvironmentLacks, r"the disk is full \(/cache/x\).*test.dev/p:1.2"),
        (errno.EIO, ClusterError, "cannot make image test.dev/p:1.2: .*/cache/x"),
    ],
)
def test_what_the_disk_refuses_is_told_with_the_image(
    program: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception], told: str
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number), "/cache/x")

    monkeypatch.setattr(layers, "pack", refuse)
    with pytest.raises(kind, match=told):
        archived(image(program))


def test_a_missing_file_is_named_with_the_image(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=f"image test.dev/p:1.2: .*{tmp_path / 'none'}"):
        archived(image(tmp_path / "none"))


def test_behind_sudo_wheels_are_fetched_by_the_user_into_a_folder_of_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root has other caches and settings of pip, and would leave files of root in the user's."""
    user = Person(os.getuid() + 1, os.getgid(), tmp_path, "user")
    given: list[Path] = []
    monkeypatch.setattr(toolchain, "invoking_person", lambda: user)
    monkeypatch.setattr(os, "chown", lambda path, *_, **__: given.append(path))
    monkeypatch.setattr(places, "make", lambda path: path.mkdir(parents=True, exist_ok=True))
    monkeypatch.setattr(debian, "compile_python", lambda *_: None)
    ran: list[Person] = []

    def run_as(person: Person, command: list[str], **_: object) -> CompletedProcess[str]:
        target = Path(command[command.index("--target") + 1])
        assert {*target.parents} & {*given}
        ran.append(person)
        target.mkdir(parents=True)
        return CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(toolchain, "run_as", run_as)
    lock = tmp_path / "lock"
    lock.write_text("")
    assert (wheels.installed(lock, tmp_path / "base") / wheels.SITE).is_dir()
    assert ran == [user]
