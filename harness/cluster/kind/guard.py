"""A child that deletes a cluster when its maker is gone, however that ended."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

from harness.cluster.kind.program import environment, explained, program
from harness.errors import NotInTime

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import IO

    from harness.errors import MeshmarkError

__all__ = ["Guard", "guarded"]

_SCRIPT = 'code=0; read -r word || { "$@"; code=$?; }; rm -rf -- "$0"; exit $code'
"""Waits for a word; at the end of the pipe without one, deletes the cluster. Then its folder."""

_GONE_S = 120.0


class Guard:
    """
    What a maker holds.

    lifeline: the pipe's end. Who inherits it is waited for too: the cluster is deleted when none
        that has it is left.
    """

    def __init__(self, lifeline: int) -> None:
        self.lifeline = lifeline

    def dismiss(self) -> None:
        """Let the cluster be: nothing is deleted."""
        os.write(self.lifeline, b"stays\n")


@contextlib.contextmanager
def guarded(name: str, folder: Path) -> Iterator[Guard]:
    """
    Delete the cluster `name` at the end of the block, or of this process, and `folder` with it.

    What the block raises passes through; that the cluster is left goes to standard error then.

    Raises:
        ClusterError: the cluster could not be deleted; the message says how to do it.
        NotInTime: it is not deleted yet.

    """
    delete = [program("kind"), "delete", "cluster", "--name", name]
    delete += ["--kubeconfig", str(folder / "kubeconfig")]
    reading, writing = os.pipe2(os.O_CLOEXEC)
    with tempfile.TemporaryFile() as output:
        try:
            child = subprocess.Popen(
                ["sh", "-c", _SCRIPT, str(folder), *delete],
                stdin=reading,
                stdout=output,
                stderr=output,
                env=environment(),
                start_new_session=True,
            )
        except BaseException:
            os.close(writing)
            raise
        finally:
            os.close(reading)
        try:
            yield Guard(writing)
        except BaseException:
            if left := _end(name, child, writing, output):
                sys.stderr.write(f"meshmark: {left}\n")
            raise
        if left := _end(name, child, writing, output):
            raise left


def _end(
    name: str, child: subprocess.Popen[bytes], lifeline: int, output: IO[bytes]
) -> MeshmarkError | None:
    """Let go of the lifeline and wait for the guard; what went wrong with that."""
    os.close(lifeline)
    remedy = f"run `kind delete cluster --name {name}`"
    try:
        code = child.wait(_GONE_S)
    except subprocess.TimeoutExpired:
        return NotInTime(
            f"kind cluster {name} is not deleted after {_GONE_S:g} s; process {child.pid} goes on "
            f"with it. If `docker ps` shows its nodes after that, {remedy}"
        )
    if not code:
        return None
    output.seek(0)
    what = f"kind cluster {name} is left: {remedy}"
    return explained(what, output.read().decode(errors="replace"))
