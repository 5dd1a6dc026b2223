"""A child that deletes a cluster when its maker is gone, however that ended."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from typing import TYPE_CHECKING

from harness.cluster.kind.program import explained, program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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

    Raises:
        ClusterError: the cluster could not be deleted; the message says how to do it.

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
                start_new_session=True,
            )
        except BaseException:
            os.close(writing)
            raise
        finally:
            os.close(reading)
        try:
            yield Guard(writing)
        finally:
            os.close(writing)
            code = child.wait(_GONE_S)
        if code:
            output.seek(0)
            what = f"kind cluster {name} is left: run `kind delete cluster --name {name}`"
            raise explained(what, output.read().decode(errors="replace"))
