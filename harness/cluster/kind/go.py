"""
Programs that are built from Go modules, each module pinned whole by its `go.mod` and `go.sum`.

A module is a folder of `node_image/programs`. What was built is kept in the user's cache under a
hash of what it was built from; Go's own build cache lets an interrupted build go on.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from harness.cluster.images import cache
from harness.errors import ClusterError, EnvironmentLacks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "INSTALL",
    "MINIMUM",
    "USUAL_PLACES",
    "Progress",
    "built",
    "debian_mirror",
    "environment",
    "find",
    "inputs",
    "silent",
]

Progress = Callable[[str], None]
"""Hears how far something is, in a few words and often."""

MINIMUM = (1, 24)
"""The oldest Go that builds Kubernetes 1.34."""

INSTALL = (
    "install it from https://go.dev/dl, or where Debian's own is too old (12), from its backports: "
    "`apt-get install golang-1.23-go` once bookworm-backports is among apt's sources"
)

USUAL_PLACES = ("/usr/local/go/bin/go", "/usr/lib/go-1.23/bin/go")
"""Where its own installer and Debian's backports put it, off the path of root."""

_FETCHES = (1, 21)
"""From this version on, go fetches a newer toolchain by itself, through its module proxy."""

_TOOLCHAIN = "go1.26.8"
"""The one that an older go fetches."""

_TAIL_LINES = 12


def silent(_: str) -> None:
    """Take the place of a progress that nobody wants to hear."""


def built(
    module: Path,
    packages: Sequence[str] = ("tool",),
    *,
    flags: str = "",
    progress: Progress = silent,
) -> Path:
    """
    The folder with the programs of these packages, built now or at an earlier call.

    module: the folder with its `go.mod`. packages: "tool" is all that `go.mod` lists as tools.
    flags: for the linker. progress: hears how far it is.

    Raises:
        EnvironmentLacks: there is no usable Go, or what it needs cannot be fetched.
        ClusterError: the module does not compile.

    """
    go = find()
    command = ["build", "-v", "-mod=readonly", "-trimpath", "-ldflags", f"-s -w {flags}".strip()]
    return cache.kept(
        module.name,
        inputs(module, [platform.machine(), _toolchain(go), *command, *packages]),
        lambda target: _run(go, [*command, "-o", f"{target}/", *packages], module, progress),
    )


def inputs(module: Path, more: Sequence[str] = ()) -> list[str]:
    """What a build depends on: every file of the module, and `more`."""
    files = sorted(path for path in module.rglob("*") if path.is_file())
    return [*more, *(f"{path.relative_to(module)}\n{path.read_text()}" for path in files)]


def find() -> Path:
    """
    A `go` that is new enough, or can make itself so: on the path, or in its usual place.

    Raises:
        EnvironmentLacks: there is none, or only an older one.

    """
    told = []
    for candidate in (shutil.which("go"), *USUAL_PLACES):
        version = _version(candidate)
        if candidate is not None and version is not None:
            if version >= _FETCHES:
                return Path(candidate)
            told.append(f"{candidate} is {'.'.join(map(str, version))}")
    wanted = ".".join(map(str, MINIMUM))
    what = "; ".join(dict.fromkeys(told)) or "no go was found"
    raise EnvironmentLacks(f"Go {wanted} or newer is needed: {what}; {INSTALL}")


def packaged_is_too_old() -> bool:
    """Whether this is Debian 12, whose own Go is 1.19 and cannot fetch another."""
    try:
        return platform.freedesktop_os_release().get("VERSION_CODENAME") == "bookworm"
    except OSError:
        return False


def debian_mirror() -> str:
    """
    Where this machine's apt gets Debian from, as its sources name it.

    Raises:
        EnvironmentLacks: its sources name no Debian 12.

    """
    asked = ["apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages"]
    done = subprocess.run(
        [*asked, "Codename: bookworm"], capture_output=True, text=True, check=False
    )
    if done.returncode or not done.stdout.strip():
        raise EnvironmentLacks(
            "apt's sources name no mirror of Debian 12, so its backports cannot be added; "
            + INSTALL
        )
    return done.stdout.split()[0]


def environment(go: Path, base: Mapping[str, str]) -> dict[str, str]:
    """The variables to run `go` with: static programs, and a toolchain that is new enough."""
    settings = {"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false", "GOWORK": "off"}
    if _is_old(go):
        settings["GOTOOLCHAIN"] = _TOOLCHAIN
    return {**base, **settings}


def _is_old(go: Path) -> bool:
    return (_version(str(go)) or MINIMUM) < MINIMUM


def _toolchain(go: Path) -> str:
    """The version of what builds in the end, whole: `go1.26.8`."""
    found = re.search(r"\bgo\d\S*", _said(str(go)))
    return _TOOLCHAIN if _is_old(go) or found is None else found[0]


def _run(go: Path, arguments: Sequence[str], module: Path, progress: Progress) -> None:
    said: deque[str] = deque(maxlen=_TAIL_LINES)
    with subprocess.Popen(
        [str(go), *arguments],
        cwd=module,
        env=environment(go, os.environ),
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        for number, line in enumerate(process.stderr, 1):
            said.append(line.rstrip())
            progress(f"package {number}, {said[-1]}")
    if process.returncode:
        raise _failed(module, "\n".join(said))


def _failed(module: Path, said: str) -> ClusterError | EnvironmentLacks:
    if re.search(r"no space left on device|disk quota exceeded", said):
        return EnvironmentLacks(
            f"the disk is full: building {module.name} takes up to 6 GB in Go's caches. It said:\n"
            f"{said}"
        )
    if "signal: killed" in said:
        return EnvironmentLacks(
            f"there is not enough memory to build {module.name}: end other programs, or run this "
            f"with GOMAXPROCS=1, which compiles one package at a time. It said:\n{said}"
        )
    if re.search(r"dial tcp|proxyconnect|/@v/|i/o timeout|TLS handshake|verifying module", said):
        return EnvironmentLacks(
            f"the modules of {module.name} cannot be fetched; GOPROXY names where from, "
            f"`go env GOPROXY` shows it. It said:\n{said}"
        )
    return ClusterError(f"go could not build {module}:\n{said}")


def _version(go: str | None) -> tuple[int, int] | None:
    """Of the toolchain that is installed, whatever GOTOOLCHAIN would make of it."""
    if go is None or not os.access(go, os.X_OK):
        return None
    match = re.search(r"\bgo(\d+)\.(\d+)", _said(go))
    return (int(match[1]), int(match[2])) if match else None


def _said(go: str) -> str:
    """`go version go1.26.8 linux/amd64`."""
    return subprocess.run(
        [go, "version"],
        env={**os.environ, "GOTOOLCHAIN": "local"},
        capture_output=True,
        text=True,
        check=False,
    ).stdout
