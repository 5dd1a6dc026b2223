"""
Starting and stopping embedded clusters from outside of them.

The engine's processes are started by one child of this process, which reports over a pipe when
everything answers. An attached cluster ends with its caller, however that ends: the caller holds
one end of a pipe whose other end process 1 watches.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from harness.cluster import places
from harness.cluster.api_cluster import ApiCluster, message
from harness.cluster.embedded import state
from harness.cluster.kubeconfig import write_private
from harness.cluster.model import Image, ProcessFacts
from harness.errors import ClusterError, EnvironmentLacks, NotInTime, UsageError
from harness.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["EmbeddedCluster", "attach", "down", "start", "up"]

_READY_S = 30.0
"""Ten times what it takes on two cores."""
_GONE_S = 10.0
_PROGRAMS = {"nft": "nftables", "iptables": "iptables", "ip": "iproute2"}
"""Needed inside: by the engine, and by what pods run to set their redirections."""


class EmbeddedCluster(ApiCluster):
    """A cluster of this machine's processes."""

    engine = "embedded"

    def __init__(self, name: str, kubeconfig: Path, pid: int, log: Path) -> None:
        super().__init__(name, kubeconfig)
        self.pid = pid
        """Of its outermost process; killing it ends the cluster."""
        self.log = log

    def load_images(self, images: Sequence[Image]) -> None:
        """
        Make images known; each is files of this machine.

        Raises:
            ClusterError: a file does not exist; the message names image and file.

        """
        body = [
            {
                "reference": image.reference,
                "binds": [
                    {"source": str(bind.source), "target": bind.target}
                    for bind in image.normalised()
                ],
                "entrypoint": list(image.entrypoint),
                "env": dict(image.env or {}),
                "user": image.user,
            }
            for image in images
        ]
        with self.api_http() as api:
            answer = api.put("/meshmark/v1/images", content=json.dumps(body))
        if answer.status_code != 200:
            raise ClusterError(f"images for cluster {self.name}: {message(answer)}")

    def processes(self, namespace: str, pod: str) -> list[ProcessFacts]:
        """
        Facts on every process of the pod, sidecars included.

        Raises:
            ClusterError: there is no such pod, or it does not run.

        """
        with self.api_http() as api:
            answer = api.get(f"/meshmark/v1/processes/{namespace}/{pod}")
        if answer.status_code != 200:
            raise ClusterError(f"processes of {namespace}/{pod}: {message(answer)}")
        return msgspec.json.decode(answer.content, type=list[ProcessFacts])


@contextlib.contextmanager
def start(
    name: str = "meshmark", *, port: int = 0, images: Sequence[Image] = ()
) -> Iterator[EmbeddedCluster]:
    """
    A cluster that lives as long as the context, and dies with the caller if that is killed.

    port: of the API on 127.0.0.1; 0 takes any free one.

    Raises:
        EnvironmentLacks: no root, or a program is missing; names what to do.
        ClusterError: it did not come up; the message ends with what the engine said.

    """
    require()
    owner = places.invoking_user()
    with tempfile.TemporaryDirectory(prefix="meshmark-") as folder:
        if owner is not None:
            os.chown(folder, *owner)
        log = Path(folder, "engine.log")
        reading, writing = os.pipe2(os.O_CLOEXEC)
        try:
            process, ready = _launch(name, port, log, lifeline=reading)
        finally:
            os.close(reading)
        try:
            kubeconfig = Path(folder, "kubeconfig")
            write_private(kubeconfig, ready["kubeconfig"], owner)
            found = EmbeddedCluster(name, kubeconfig, process.pid, log)
            with contextlib.closing(found) as cluster:
                cluster.load_images(images)
                yield cluster
        finally:
            os.close(writing)
            process.terminate()
            try:
                process.wait(_GONE_S)
            except subprocess.TimeoutExpired:  # its end is the cluster's, however it comes
                process.kill()
                process.wait()


def up(name: str = "meshmark", *, port: int = 0) -> EmbeddedCluster:
    """
    Start a cluster that stays until `down`.

    Raises:
        UsageError: there is one of that name already.
        EnvironmentLacks, ClusterError: as `start`.

    """
    require()
    refuse_twice(name)
    found = state.read(name, create=True)
    try:
        process, ready = _launch(name, port, found.log, lifeline=None)
    except BaseException:
        found.forget()  # the error has the end of the log
        raise
    process.wait(_GONE_S)  # what it left behind is nobody's child
    try:
        found.record(ready["pid"], ready["kubeconfig"])
    except BaseException as error:  # a cluster that nothing tells of could not be ended
        os.kill(ready["pid"], signal.SIGTERM)
        if not isinstance(error, OSError):
            raise
        raise EnvironmentLacks(f"{found.folder} cannot be written: {error.strerror}") from error
    return attach(name)


def attach(name: str = "meshmark") -> EmbeddedCluster:
    """
    The cluster that `up` started.

    Raises:
        UsageError: none of that name is up; the message lists those that are.

    """
    found = state.read(name)
    if not found.pid:
        others = " or ".join(f"`--name {each.name}`" for each in state.known() if each.pid)
        there = f", or name one that is there: {others}" if others else ""
        raise UsageError(f"no cluster {name} is up: run `meshmark up`{there}")
    return EmbeddedCluster(name, found.kubeconfig, found.pid, found.log)


def down(name: str = "meshmark") -> bool:
    """
    Stop a detached cluster and wait until nothing of it is left; False when none was up.

    Raises:
        EnvironmentLacks: the cluster belongs to root, and the caller is not.
        NotInTime: it did not end.

    """
    found = state.read(name)
    if found.pid:
        try:
            os.kill(found.pid, signal.SIGTERM)
        except PermissionError:
            raise EnvironmentLacks(
                f"cluster {name} runs as root: run `{_with_sudo()}` to stop it"
            ) from None
        except ProcessLookupError:
            pass
        until(
            lambda: state.read(name).pid == 0,
            what=f"cluster {name} gone",
            timeout_s=_GONE_S,
            interval_s=0.02,
        )
    found.forget()
    return bool(found.pid)


def refuse_twice(name: str) -> None:
    """
    Make sure that no detached cluster has this name.

    Raises:
        UsageError: one has; says how to use it and how to end it.

    """
    found = state.read(name)
    if found.pid:
        which = "" if name == "meshmark" else f" --name {name}"
        raise UsageError(
            f"cluster {name} is up already (pid {found.pid}): use it with "
            f"`export KUBECONFIG={found.kubeconfig}`, or run `meshmark down{which}` first"
        )


def require() -> None:
    """
    Check what the engine needs of this machine.

    Raises:
        EnvironmentLacks: names what is missing and how to get it.

    """
    if os.geteuid() != 0:
        raise EnvironmentLacks(
            "the embedded cluster makes network namespaces, which takes root: run "
            f"`{_with_sudo()}`. Without root: where you may use Docker, `--cluster kind` makes "
            "real Kubernetes; `meshmark run` also takes one that you have, by `--cluster "
            "context:NAME`"
        )
    missing = [package for program, package in _PROGRAMS.items() if not _found(program)]
    if missing:
        raise EnvironmentLacks(
            f"the embedded cluster needs {', '.join(missing)}: run "
            f"`apt-get install -y {' '.join(missing)}`"
        )


def _with_sudo() -> str:
    """The command that was given, as root; sudo does not search a virtual environment."""
    program = Path(sys.argv[0])
    if program.name != "meshmark":
        return "sudo meshmark …"
    return shlex.join(["sudo", str(program.absolute()), *sys.argv[1:]])


def _found(program: str) -> bool:
    folders = [*os.environ.get("PATH", "").split(os.pathsep), "/usr/sbin", "/sbin"]
    return any(os.access(os.path.join(each, program), os.X_OK) for each in folders)


def _launch(
    name: str, port: int, log: Path, *, lifeline: int | None
) -> tuple[subprocess.Popen[bytes], dict[str, Any]]:
    """Start the processes and wait until the API answers."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    config = {
        "name": name,
        "port": port,
        "ready_fd": writing,
        "detach": lifeline is None,
        "lifeline_fd": -1 if lifeline is None else lifeline,
        # The kernel ties a child to the thread that forked it; only the main thread lives as
        # long as the process. For others the pipe alone has to do.
        "follow_parent": lifeline is not None
        and threading.current_thread() is threading.main_thread(),
    }
    environment = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
    if places.invoking_user() is not None:
        environment["PYTHONDONTWRITEBYTECODE"] = "1"  # no files of root in the user's tree
    try:
        with log.open("wb") as output:
            owner = places.invoking_user()
            if owner is not None:
                os.fchown(output.fileno(), *owner)
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", f"{__package__}.bootstrap", json.dumps(config)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                pass_fds=[writing] + ([] if lifeline is None else [lifeline]),
                start_new_session=True,
            )
    finally:
        os.close(writing)
    try:
        return process, _ready(name, reading, log)
    except BaseException:
        process.kill()
        process.wait()
        raise


def _ready(name: str, reading: int, log: Path) -> dict[str, Any]:
    said = b""
    with open(reading, "rb", buffering=0) as pipe:
        os.set_blocking(reading, False)

        def heard() -> bool:
            nonlocal said
            chunk = pipe.read()
            said += chunk or b""
            return said.endswith(b"\n") or chunk == b""

        try:
            until(heard, what=f"cluster {name} ready", timeout_s=_READY_S, interval_s=0.01)
        except NotInTime as error:
            raise NotInTime(f"{error}\n{_tail(log)}") from None
    ready: dict[str, Any] = json.loads(said or b'{"failed": "it ended without a word"}')
    if "failed" in ready:
        raise ClusterError(f"cluster {name} did not come up: {ready['failed']}\n{_tail(log)}")
    return ready


def _tail(log: Path) -> str:
    text = log.read_text(errors="replace").strip()
    return "\n".join(text.splitlines()[-20:])
