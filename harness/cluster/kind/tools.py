"""
Where `kind` and `kubectl` are: on the path if new enough, else those built here.

`meshmark doctor --cluster kind --fix` builds what is missing from its Go modules, for the user who
asked; that takes a minute or two each, less when a node image was built before.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from harness.cluster.images import cache
from harness.errors import EnvironmentLacks

__all__ = ["MINIMUM", "find", "keep"]

MINIMUM = {"kind": (0, 30), "kubectl": (1, 33)}
"""The oldest kind that knows Kubernetes 1.34, and the oldest kubectl meant for it."""

_ASK = {"kind": ("version",), "kubectl": ("version", "--client")}
_LIMIT_S = 20.0


def find(name: str, minimum: tuple[int, int] | None = None) -> str:
    """
    Path of the program, of the version that `minimum` or else MINIMUM asks for.

    Raises:
        EnvironmentLacks: there is none that is new enough; says what was found instead.

    """
    oldest = minimum or MINIMUM[name]
    told = []
    for candidate in (shutil.which(name), str(_place(name))):
        version = _version(name, candidate)
        if candidate is not None and version is not None:
            if version >= oldest:
                return candidate
            told.append(f"{candidate} is {'.'.join(map(str, version))}")
    wanted = ".".join(map(str, oldest))
    what = "; ".join(dict.fromkeys(told)) or "none was found"
    raise EnvironmentLacks(
        f"{name} {wanted} or newer is needed: {what}; "
        "`meshmark doctor --cluster kind --fix` builds one, or install it yourself"
    )


def keep(name: str, program: Path) -> Path:
    """Let `find` find a program that was built here."""
    place = _place(name)
    place.parent.mkdir(parents=True, exist_ok=True)
    cache.give(place.parent)
    fresh = place.with_name(f".{name}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(program)
    fresh.replace(place)
    return place


def _place(name: str) -> Path:
    return cache.folder() / "bin" / name


def _version(name: str, path: str | None) -> tuple[int, int] | None:
    if path is None or not Path(path).exists():
        return None
    try:
        done = subprocess.run(
            [path, *_ASK[name]], capture_output=True, text=True, timeout=_LIMIT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"\bv(\d+)\.(\d+)\.", done.stdout)
    return (int(match[1]), int(match[2])) if match else None
