"""Running `kind` and `docker`, and what it means when they fail."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING

from harness.cluster.kind import tools
from harness.errors import ClusterError, EnvironmentLacks, MeshmarkError, NotInTime
from harness.waiting import until

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["docker", "environment", "explained", "is_another", "kind", "program"]

_SHORT_S = 60.0
_MOMENT_S = 5.0
"""For a container that Docker was asked for and makes in any case."""
_TAIL_LINES = 15

_LACKS = (
    (
        r"permission denied while trying to connect|docker\.sock: .*permission denied",
        (
            "this user may not talk to Docker: run this with sudo, or join Docker's group with "
            "`sudo usermod -aG docker $USER` and log in again"
        ),
    ),
    (
        r"Cannot connect to the Docker daemon|Is the docker daemon running|docker\.sock: connect",
        (
            "Docker does not run: start it with `sudo systemctl start docker`, or with "
            "`sudo dockerd &` where no init system runs"
        ),
    ),
    (
        r"no space left on device|disk quota exceeded",
        (
            "the disk is full: `docker system df` shows what Docker keeps there, "
            "`docker system prune` removes what nothing uses"
        ),
    ),
)
"""What the machine lacks, by what the programs print, and what to do."""

_ANOTHER = r"already exist for a cluster|is already in use by container"
"""What kind and Docker say of a cluster's name, and of a node's, that is taken."""


def kind(*arguments: str, timeout_s: float = _SHORT_S, pass_fds: Sequence[int] = ()) -> str:
    """
    What `kind` with these arguments prints.

    pass_fds: descriptors that stay open for as long as it runs.

    Raises:
        EnvironmentLacks: kind, Docker, space or a permission is missing.
        ClusterError: it failed otherwise; the message ends with what it said.
        NotInTime: it was ended after `timeout_s`.

    """
    return _run([program("kind"), *arguments], timeout_s=timeout_s, pass_fds=pass_fds).decode()


def docker(*arguments: str, timeout_s: float = _SHORT_S) -> str:
    """What `docker` with these arguments prints; raises as `kind` does."""
    said = _run([program("docker"), *arguments], timeout_s=timeout_s)
    return said.decode(errors="replace")


def environment() -> dict[str, str]:
    """The variables for `kind`: with them its nodes are Docker's, where we look for them."""
    return {**os.environ, "KIND_EXPERIMENTAL_PROVIDER": "docker"}


def _run(command: Sequence[str], *, timeout_s: float, pass_fds: Sequence[int] = ()) -> bytes:
    """Standard output of a program that no Ctrl-C in the terminal reaches; raises as above."""
    try:
        with subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
            pass_fds=pass_fds,
            # Interrupted, it would leave half a cluster; its caller ends it and cleans up.
            start_new_session=True,
        ) as process:
            try:
                out, told = process.communicate(timeout=timeout_s)
            except BaseException:
                _end(process)
                raise
    except subprocess.TimeoutExpired as error:
        said = (error.stderr or error.stdout or b"").decode(errors="replace")
        raise NotInTime(
            f"`{_shown(command)}` did not end within {timeout_s:g} s. It said:\n{_tail(said)}"
        ) from None
    except OSError as error:
        raise EnvironmentLacks(f"`{command[0]}` cannot be run: {error.strerror}") from error
    if process.returncode:
        said = (told + out).decode(errors="replace")
        raise explained(f"`{_shown(command)}` ended with {process.returncode}", said)
    return out


def _end(process: subprocess.Popen[bytes]) -> None:
    """
    End a program and then what it started, which would keep a guard waiting.

    That gets a moment: a container that Docker is making would escape who deletes the others.
    """
    process.kill()
    process.wait()
    try:
        until(lambda: not _runs(process.pid), what="its children gone", timeout_s=_MOMENT_S)
    except BaseException as error:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        if not isinstance(error, NotInTime):
            raise


def _runs(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def explained(what: str, said: str) -> MeshmarkError:
    """The error for a program's last words: what the machine lacks, where they tell."""
    for pattern, meaning in _LACKS:
        if re.search(pattern, said, re.IGNORECASE):
            return EnvironmentLacks(f"{meaning}. ({what}: {_tail(said, lines=1)})")
    return ClusterError(f"{what}:\n{_tail(said)}")


def is_another(said: str) -> bool:
    """Whether kind failed, with these words, because there is a cluster of that name."""
    return re.search(_ANOTHER, said) is not None


def program(name: str) -> str:
    """Path of a program; raises EnvironmentLacks without it."""
    return _found(name, os.environ.get("PATH", ""))


@functools.cache
def _found(name: str, path: str) -> str:
    if name in tools.MINIMUM:
        return tools.find(name)
    found = shutil.which(name, path=path)
    if found is None:
        raise EnvironmentLacks(
            f"there is no `{name}` on the path: `meshmark doctor --cluster kind --fix` gets it"
        )
    return found


def _shown(command: Sequence[str]) -> str:
    name, *arguments = command
    return " ".join([name.rpartition("/")[2], *arguments[:3]])


def _tail(said: str, lines: int = _TAIL_LINES) -> str:
    return "\n".join(said.strip().splitlines()[-lines:]) or "(nothing)"
