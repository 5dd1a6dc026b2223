"""
Docker on this machine: whether it answers, what it is like, and how to start one.

A Docker that runs is used as it is. Only one that `start` started has settings of ours.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import msgspec

from harness.cluster.kind import host, runc_wrapper
from harness.cluster.kind.program import docker
from harness.errors import EnvironmentLacks
from harness.waiting import until

__all__ = ["Daemon", "daemon", "install_runtime", "is_installed", "start"]

_START_S = 60.0
_ANSWER_S = 20.0
_TAIL_LINES = 6


class Daemon(msgspec.Struct, frozen=True, rename="pascal"):
    """What Docker says of itself."""

    server_version: str = ""
    cgroup_version: str = "2"
    default_runtime: str = "runc"


def daemon() -> Daemon:
    """
    The Docker that answers.

    Raises:
        EnvironmentLacks: there is no `docker`, it does not run, or it is not for this user.
        NotInTime: it does not answer.

    """
    # Asked first, since `docker info` fails with a page of what it does not know.
    docker("version", "--format", "{{.Server.Version}}", timeout_s=_ANSWER_S)
    said = docker("info", "--format", "{{json .}}", timeout_s=_ANSWER_S)
    return msgspec.json.decode(said, type=Daemon)


def install_runtime() -> Path:
    """Put `runc_wrapper` where Docker can run it; root only."""
    runtime = host.RUNTIME_PROGRAM
    source = Path(runc_wrapper.__file__).read_text(encoding="utf-8")
    # Isolated and without site packages it starts in a tenth of the time.
    interpreter = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else _python()
    host.FOLDER.mkdir(mode=0o755, exist_ok=True)
    fresh = runtime.with_suffix(".fresh")
    fresh.write_text(f"#!{interpreter} -IS\n{source}", encoding="utf-8")
    fresh.chmod(0o755)
    fresh.replace(runtime)
    return runtime


def is_installed() -> bool:
    """Whether there is a `dockerd` here; the client alone may belong to one elsewhere."""
    return _dockerd() is not None


def start() -> Path:
    """
    Start a Docker that stays, where no init system would; root only. Returns its log.

    Raises:
        EnvironmentLacks: there is no dockerd, or it ended; the message ends with its last words.
        NotInTime: it does not answer.

    """
    program = _dockerd()
    if program is None:
        raise EnvironmentLacks("there is no dockerd: install it with `apt-get install docker.io`")
    host.FOLDER.mkdir(mode=0o755, exist_ok=True)
    command = [program]
    if host.lacks_sys_resource():
        command += [
            f"--add-runtime={host.RUNTIME}={install_runtime()}",
            f"--default-runtime={host.RUNTIME}",
        ]
    log = host.FOLDER / "dockerd.log"
    with log.open("ab") as file:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd="/",
            start_new_session=True,
        )

    def answers() -> bool:
        if process.poll() is None:
            return bool(daemon().server_version)
        told = "\n".join(log.read_text(errors="replace").splitlines()[-_TAIL_LINES:])
        raise _Ended(f"dockerd ended with {process.returncode}; {log} ends with:\n{told}")

    try:
        until(
            answers, what="Docker answering", timeout_s=_START_S, interval_s=0.5, hint=f"see {log}"
        )
    except _Ended as ended:
        raise EnvironmentLacks(str(ended)) from None
    return log


def _dockerd() -> str | None:
    return shutil.which("dockerd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


class _Ended(Exception):
    """Not an error that waiting could outlast."""


def _python() -> str:
    found = shutil.which("python3", path="/usr/local/bin:/usr/bin:/bin")
    if found is None:
        raise EnvironmentLacks(
            "Docker's runtime needs a Python of the system: `apt-get install python3`"
        )
    return found
