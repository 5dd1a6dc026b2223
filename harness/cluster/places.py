"""
Where clusters that stay leave word of themselves, and how they may be called.

With sudo only what needs it runs as root, so these folders are in the invoking user's home and are
theirs.
"""

from __future__ import annotations

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
    """The folder of all clusters: `$XDG_STATE_HOME/meshmark` or `~/.local/state/meshmark`."""
    owner = invoking_user()
    if owner is not None:
        return Path(pwd.getpwuid(owner[0]).pw_dir) / ".local" / "state" / "meshmark"
    named = os.environ.get("XDG_STATE_HOME", "")
    return Path(named or Path.home() / ".local" / "state") / "meshmark"


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
