"""
The kernel's limit on watchers of files, which all clusters of a machine share.

Every kubelet, containerd and systemd of a node watches files as the machine's root, and Linux gives
one user 128 watchers. One cluster fits; the second or third fails late and in odd words ("failed to
create fsnotify watcher", "too many open files"), so the limit is looked at before. kind's own
documents on known issues name the same remedy.
"""

from __future__ import annotations

from pathlib import Path

from harness.errors import EnvironmentLacks

__all__ = ["WANTED", "explain", "limit", "raise_limit", "remedy"]

LIMIT = Path("/proc/sys/fs/inotify/max_user_instances")

WANTED = 512
"""What kind's documents ask for; a cluster of three nodes takes some 60."""

_WORDS = ("too many open files", "inotify_init", "fsnotify watcher")


def limit() -> int | None:
    """How many watchers one user may have; None where the kernel does not say."""
    try:
        return int(LIMIT.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def remedy() -> str:
    """What to do about a limit that is too low."""
    return f"run `sysctl -w fs.inotify.max_user_instances={WANTED}` as root"


def raise_limit() -> None:
    """
    Set the limit to what clusters want, until the machine restarts; root only.

    Raises:
        EnvironmentLacks: the kernel did not let us.

    """
    try:
        LIMIT.write_text(f"{WANTED}\n", encoding="ascii")
    except OSError as error:
        raise EnvironmentLacks(
            f"{LIMIT} could not be set to {WANTED} ({error.strerror}): several clusters at once "
            f"would run out of watchers; {remedy()}, or run one cluster at a time"
        ) from error


def explain(said: str) -> str:
    """What it means when a node complains of watchers; empty when `said` has no such complaint."""
    found = limit()
    if found is None or found >= WANTED or not any(word in said.lower() for word in _WORDS):
        return ""
    return (
        f"It ran out of watchers of files: this machine gives {found} to all nodes of all clusters "
        f"together. End other clusters, or {remedy()}"
    )
