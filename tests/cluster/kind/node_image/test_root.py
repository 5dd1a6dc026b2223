"""What a node's file system is made of."""

from __future__ import annotations

import io
import re
import tarfile
from pathlib import Path

import pytest
import yaml

from harness.cluster.kind.node_image import freshness, root, versions

FILES = Path(root.__file__).with_name("files")


def tar_of(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path


def test_ours_takes_the_place_of_debians_and_nothing_is_there_twice(tmp_path: Path) -> None:
    base = tar_of(tmp_path / "base", {"./etc/machine-id": b"abc", "./bin/sh": b"shell"})
    kubelet = tmp_path / "kubelet"
    kubelet.write_bytes(b"binary")
    root.write(tmp_path / "whole", base, root.overlay({"kubelet": kubelet}))
    with tarfile.open(tmp_path / "whole") as tar:
        names = [name.removeprefix("./") for name in tar.getnames()]
        assert len(names) == len(set(names))
        assert tar.extractfile("etc/machine-id").read() == b""  # type: ignore[union-attr]
        assert tar.extractfile("kind/version").read() == versions.KUBERNETES.encode()  # type: ignore[union-attr]
        assert tar.extractfile("./bin/sh").read() == b"shell"  # type: ignore[union-attr]
        assert tar.getmember("usr/bin/kubelet").mode == 0o755
        assert tar.getmember("usr/local/sbin/node-entrypoint").mode == 0o755
        assert tar.getmember("etc/containerd/config.toml").mode == 0o644
        assert tar.getmember("etc/systemd/system/console-getty.service").linkname == "/dev/null"


def test_the_pod_network_names_the_image_that_nodes_bring_along() -> None:
    text = (
        Path(root.__file__)
        .with_name("files")
        .joinpath("kind/manifests/default-cni.yaml")
        .read_text()
    )
    # By these words kind knows that it has to fill in what it knows.
    assert "would you kindly template this file" in text
    assert "would you kindly patch this file" in text
    (daemons,) = [one for one in yaml.safe_load_all(text) if one["kind"] == "DaemonSet"]
    (container,) = daemons["spec"]["template"]["spec"]["containers"]
    assert container["image"] == versions.NETWORK
    assert isinstance(container["env"], list)


def test_containerd_starts_pods_with_the_pause_that_nodes_bring_along() -> None:
    text = (FILES / "etc/containerd/config.toml").read_text()
    assert f"registry.k8s.io/pause:{versions.PAUSE}" in text


def test_the_pinned_image_is_of_our_minor_version_and_has_a_digest() -> None:
    minor = re.match(r"v\d+\.\d+\.", versions.KUBERNETES)
    assert minor
    assert re.fullmatch(rf"kindest/node:{minor[0]}\d+@sha256:[0-9a-f]{{64}}", versions.PINNED)


def test_the_modules_are_of_the_version_that_the_node_is_called_by() -> None:
    module = Path(root.__file__).with_name("programs") / "kubernetes/go.mod"
    assert f"k8s.io/kubernetes {versions.KUBERNETES} //" in module.read_text()


@pytest.mark.parametrize(
    "changed",
    [
        "images/archive.py",
        "images/debian.py",
        "images/layers.py",
        "kind/go.py",
        "kind/node_image/files/etc/crictl.yaml",
        "kind/node_image/versions.py",
    ],
)
def test_a_changed_byte_makes_another_image(changed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before, read = freshness.made_of(), Path.read_bytes
    assert re.fullmatch(r"[0-9a-f]{16}", before)

    def other(path: Path) -> bytes:
        return read(path) + (b"x" if path.match(changed) else b"")

    monkeypatch.setattr(Path, "read_bytes", other)
    assert freshness.made_of() != before


def test_another_machine_has_another_image(monkeypatch: pytest.MonkeyPatch) -> None:
    before = freshness.made_of()
    monkeypatch.setattr(freshness.platform, "machine", lambda: "riscv64")
    assert freshness.made_of() != before


def test_a_kubelet_that_fails_quickly_is_started_again_without_end() -> None:
    text = (FILES / "etc/systemd/system/kubelet.service").read_text()
    unit, _, service = text.partition("[Service]")
    assert "\nStartLimitIntervalSec=0\n" in unit
    assert "\nRestart=always\n" in service
