"""
What a result depends on besides the mesh: machine, software, effective configuration.

Two runs whose fingerprints differ were not measured under the same conditions; the comparison says
so. No names of people or hosts and no secrets are taken.
"""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["fingerprint", "sha256_of"]

_LIBRARIES = ("meshmark", "pytest", "lightkube", "grpcio", "httpx2", "locust")
_TOOLS = {
    "rustc": ["rustc", "--version"],
    "nft": ["nft", "--version"],
    "iptables": ["iptables", "--version"],
    "kubectl": ["kubectl", "version", "--client", "--output=yaml"],
}


def fingerprint(
    configuration: Mapping[str, Any], binaries: Mapping[str, Path], source: Path
) -> dict[str, Any]:
    """
    The fingerprint of this machine and of what runs on it.

    configuration: the effective options, as JSON-able values.
    binaries: executables by the name that the report shows; a missing file is told as `absent`.
    source: a folder of the clone, for the commit.
    """
    return {
        "machine": _machine(),
        "software": {
            "python": platform.python_version(),
            **{name: version for name in _LIBRARIES if (version := _library(name))},
            **{name: version for name, ask in _TOOLS.items() if (version := _first_line(*ask))},
            "commit": _commit(source),
        },
        "binaries": {name: sha256_of(path) for name, path in sorted(binaries.items())},
        "configuration": dict(sorted(configuration.items())),
    }


def sha256_of(path: Path) -> str:
    """The file's SHA-256 in hex, or `absent`."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return "absent"


def _machine() -> dict[str, Any]:
    return {
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "system": _system(),
        "cpu": _field("/proc/cpuinfo", "model name") or "unknown",
        "cores": len(os.sched_getaffinity(0)),
        "memory_mib": int((_field("/proc/meminfo", "MemTotal") or "0 kB").split()[0]) // 1024,
        "load_1min": round(os.getloadavg()[0], 1),
    }


def _system() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        return "Linux"


def _field(path: str, name: str) -> str:
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    matching = (line.partition(":") for line in lines if line.startswith(name))
    return next((value.strip() for _, _, value in matching), "")


def _library(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


@functools.cache
def _first_line(*command: str) -> str:
    """What a version command says first that has a digit; nothing when there is no such tool."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    lines = [line.strip() for line in done.stdout.splitlines() if any(map(str.isdigit, line))]
    version = next((line for line in lines if "gitVersion" in line), lines[0] if lines else "")
    return version.removeprefix("gitVersion: ")


def _commit(source: Path) -> str:
    """The commit of the clone with `+changes` when files differ from it, or `unknown`."""
    # Without locks: under sudo a refreshed index would be root's.
    git = ["git", "--no-optional-locks", "-C", str(source)]
    commit = _first_line(*git, "rev-parse", "--short=12", "HEAD")
    if not commit:
        return "unknown"
    changed = subprocess.run(
        [*git, "status", "--porcelain", "--untracked-files=no"],
        capture_output=True,
        timeout=10,
        check=False,
    )
    return f"{commit}+changes" if changed.stdout.strip() else commit
