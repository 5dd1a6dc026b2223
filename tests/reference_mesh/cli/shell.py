"""Someone at a shell, with `refmesh`, a real kubectl and a new cluster."""

from __future__ import annotations

import contextlib
import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from click.testing import CliRunner

from reference_mesh.cli import main
from tests.reference_mesh.cli.live import started

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from harness.cluster import Image


@dataclass(frozen=True)
class User:
    """What someone types, and what is printed."""

    program: str
    kubeconfig: Path

    def refmesh(self, *arguments: str) -> str:
        code, stdout, stderr = self.tried(*arguments)
        assert code == 0, stderr
        return stdout

    def tried(self, *arguments: str) -> tuple[int, str, str]:
        result = CliRunner().invoke(main, ["--kubeconfig", str(self.kubeconfig), *arguments])
        return result.exit_code, result.stdout, result.stderr

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        done = self.started(*arguments, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def started(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.program, *arguments],
            env={**os.environ, "KUBECONFIG": str(self.kubeconfig)},
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )

    def apply(self, text: str) -> str:
        return self.kubectl("apply", "-f", "-", stdin=text)

    def delete(self, text: str) -> list[str]:
        """What is deleted, as kubectl says; from 1.34 on it says the namespace too."""
        told = self.kubectl("delete", "-f", "-", stdin=text)
        return [line.partition(" deleted")[0] for line in told.splitlines()]

    def delete_if_any(self, text: str) -> None:
        """Delete what is in there; kubectl takes nothing for an error."""
        if text.strip():
            self.delete(text)

    def check(self, *options: str) -> str:
        return self.refmesh("check", "--wait", "2m", *options)

    def until_rolled_out(self) -> None:
        for name in ("linkerd-identity", "linkerd-destination", "linkerd-proxy-injector"):
            named = f"deployment/{name}"
            told = self.kubectl("-n", "linkerd", "rollout", "status", named, "--timeout=120s")
            assert f'deployment "{name}" successfully rolled out' in told


@contextlib.contextmanager
def shell(kubectl_program: str, images: Sequence[Image]) -> Iterator[User]:
    """A user of a cluster that has these images and no mesh."""
    with started("refmesh-cli", images) as cluster:
        yield User(kubectl_program, cluster.kubeconfig)
