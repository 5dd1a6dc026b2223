"""Kubeconfig files: written for the clusters made here, and found for those made elsewhere."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import yaml

__all__ = ["default_paths", "kubeconfig", "write_private"]


def kubeconfig(name: str, server: str, ca: str, token: str) -> str:
    """
    The text of a kubeconfig with one cluster, one user and one context, all called `name`.

    ca: PEM, embedded, so that the file is all that a client needs.
    """
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": name,
            "clusters": [
                {
                    "name": name,
                    "cluster": {
                        "server": server,
                        "certificate-authority-data": base64.b64encode(ca.encode()).decode(),
                    },
                }
            ],
            "users": [{"name": name, "user": {"token": token}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        },
        sort_keys=False,
    )


def write_private(path: Path, text: str, owner: tuple[int, int] | None = None) -> None:
    """Write a file that only its owner can read; `owner` is uid and gid, the caller's if None."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        os.fchmod(descriptor, 0o600)
        if owner is not None:
            os.fchown(descriptor, *owner)
        file.write(text)


def default_paths() -> list[Path]:
    """Where clients look: the files of $KUBECONFIG, else ~/.kube/config."""
    named = [each for each in os.environ.get("KUBECONFIG", "").split(os.pathsep) if each]
    return [Path(each) for each in named] or [Path.home() / ".kube" / "config"]
