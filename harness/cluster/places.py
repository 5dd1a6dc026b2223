"""
Where clusters that stay leave word of themselves, and how they may be called.

With sudo only what needs it runs as root, so these folders are in the invoking user's home and are
theirs.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
from pathlib import Path

from harness.errors import UsageError

__all__ = ["check_name", "invoking_user", "make", "names", "state_folder"]

_NAME = re.compile(r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$")


def names(text: str) -> bool:
    """Whether a cluster can be called so."""
    return _NAME.match(text) is not None


def check_name(name: str) -> None:
    """
    Make sure that a cluster can be called so.

    Raises:
        UsageError: it cannot.

    """
    if not names(name):
        raise UsageError(
            f"{name!r} cannot name a cluster: use up to 40 lower-case letters, digits and dashes"
        )


def state_folder() -> Path:
    """
    The folder of all clusters: `$XDG_STATE_HOME/meshmark` or `~/.local/state/meshmark`.

    With sudo, the variable and the home of who called it: `meshmark down` without sudo looks there.
    """
    owner = invoking_user()
    home = Path.home() if owner is None else Path(pwd.getpwuid(owner[0]).pw_dir)
    named = os.environ.get("XDG_STATE_HOME", "")
    if not named and owner is not None:
        named = _kept_from_us_by_sudo("XDG_STATE_HOME")
    return Path(named or home / ".local" / "state") / "meshmark"


def invoking_user() -> tuple[int, int] | None:
    """Uid and gid of who called sudo; None without sudo."""
    uid, gid = os.environ.get("SUDO_UID", ""), os.environ.get("SUDO_GID", "")
    if os.geteuid() != 0 or not uid.isdigit() or not gid.isdigit() or int(uid) == 0:
        return None
    try:
        pwd.getpwuid(int(uid))
    except KeyError:
        return None
    return int(uid), int(gid)


def make(folder: Path) -> None:
    """Make a folder and what is missing above it, all for their owner only."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    owner = invoking_user()
    for each in reversed(missing):
        each.mkdir(mode=0o700, exist_ok=True)
        if owner is not None:
            os.chown(each, *owner)


def _kept_from_us_by_sudo(variable: str) -> str:
    """
    A variable of who called sudo, which passes few of them on; empty when there is none.

    sudo itself was started with all of them and is the nearest process above this one of that name.
    """
    pid = os.getppid()
    with contextlib.suppress(OSError):
        while pid > 1:
            process = Path(f"/proc/{pid}")
            if process.joinpath("comm").read_text() == "sudo\n":
                environment = process.joinpath("environ").read_bytes().split(b"\0")
                start = f"{variable}=".encode()
                found = [each[len(start) :] for each in environment if each.startswith(start)]
                return os.fsdecode(found[0]) if found else ""
            fields = process.joinpath("stat").read_text().rpartition(")")[2].split()
            pid = int(fields[1])
    return ""
