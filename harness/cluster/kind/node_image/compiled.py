"""The programs of a node, each compiled from its sources when it is first asked for."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from harness.cluster.images import cache
from harness.cluster.kind import go
from harness.cluster.kind.node_image.versions import KUBERNETES
from harness.errors import ClusterError, EnvironmentLacks

if TYPE_CHECKING:
    from harness.cluster.kind.go import Progress

__all__ = ["coredns", "crictl", "etcd", "kind", "kubectl", "kubernetes", "pause"]

_SOURCES = Path(__file__).with_name("programs")
"""A folder for each Go module that is built, with all its dependencies pinned in `go.sum`."""


def kubernetes(progress: Progress = go.silent) -> Path:
    """
    The folder of Kubernetes' programs, and of `network`, which connects the nodes.

    This and the others raise what `go.built` raises.
    """
    return go.built(
        _SOURCES / "kubernetes", ["tool", "./network"], flags=_version_flags(), progress=progress
    )


def kubectl(progress: Progress = go.silent) -> Path:
    """The folder of `kubectl` alone, for who needs no node image."""
    package = "k8s.io/kubernetes/cmd/kubectl"
    return go.built(_SOURCES / "kubernetes", [package], flags=_version_flags(), progress=progress)


def kind(progress: Progress = go.silent) -> Path:
    """The folder of `kind`."""
    return go.built(_SOURCES / "kind", progress=progress)


def etcd(progress: Progress = go.silent) -> Path:
    """The folder of `etcd`, whose module calls it `server`."""
    return go.built(_SOURCES / "etcd", progress=progress)


def coredns(progress: Progress = go.silent) -> Path:
    """The folder of `coredns`."""
    return go.built(_SOURCES / "coredns", progress=progress)


def crictl(progress: Progress = go.silent) -> Path:
    """The folder of `crictl`, with which kubeadm asks the container runtime."""
    return go.built(_SOURCES / "crictl", progress=progress)


def pause() -> Path:
    """
    The folder of `pause`, the first process of every pod.

    Raises:
        EnvironmentLacks: there is no C compiler.
        ClusterError: it does not compile.

    """
    source = _SOURCES / "pause.c"
    return cache.kept("pause", [source.read_text()], lambda target: _compile(source, target))


def _version_flags() -> str:
    """What the linker must be told for `--version` to be true; modules cannot tell it."""
    major, minor, _ = KUBERNETES.removeprefix("v").split(".")
    facts = {
        "gitVersion": KUBERNETES,
        "gitMajor": major,
        "gitMinor": minor,
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
    }
    return " ".join(
        f"-X {package}.{name}={value}"
        for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
        for name, value in facts.items()
    )


def _compile(source: Path, target: Path) -> None:
    command = ["cc", "-Os", "-Wall", "-static", "-s", "-o", str(target / source.stem), str(source)]
    try:
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    except FileNotFoundError:
        raise EnvironmentLacks(
            "there is no C compiler: install one with `apt-get install build-essential`"
        ) from None
    if done.returncode:
        raise ClusterError(f"cc could not build {source}:\n{done.stderr.strip()}")
