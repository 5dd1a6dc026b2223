"""
One build of the reference mesh: its command line, and the images that its pods run.

The usual build is this clone as it is. Another is made of the sources of a commit; its version, and
so the tags of its images, name that commit: a cluster can hold both.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness import toolchain
from harness.cluster import Image
from harness.cluster.python_image import python_image
from harness.errors import EnvironmentLacks, MeshError
from harness.mesh.protocol import MeshOptions
from harness.mesh.sources import CLONE, Sources, sources_at

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["ReferenceBuild"]

_PROXY = "meshmark.dev/proxy"
_INIT = "meshmark.dev/proxy-init"
_CONTROL_PLANE = "meshmark.dev/control-plane"
_PACKAGE = "meshmark-proxy"
_FOLDER = "/usr/lib/linkerd"
_INIT_PROGRAM = "linkerd2-proxy-init"
_PROXY_USER = 2102


@dataclass(frozen=True)
class ReferenceBuild:
    """
    A build, and what is changed about it.

    sources: those of a commit; None for this clone's own.
    options: the mutant, and what runs in the place of its proxy and of its Python modules; only
        this clone's build can have a mutant.
    """

    sources: Sources | None = None
    options: MeshOptions = MeshOptions()  # noqa: RUF009 - frozen

    @classmethod
    def of(cls, options: MeshOptions) -> ReferenceBuild:
        """
        The build that the options name by a git ref.

        Raises:
            EnvironmentLacks: its sources are not to be had here.

        """
        return cls(sources_at(options.build) if options.build else None, options)

    @functools.cached_property
    def version(self) -> str:
        """What `refmesh version --client --short` prints: the tag of its images."""
        return self.refmesh("version", "--client", "--short").strip()

    @property
    def proxy_image(self) -> str:
        """What the sidecars of new pods are made from, once it is installed."""
        return f"{_PROXY}:{self.version}"

    def images(self) -> list[Image]:
        """
        Proxy and init container, built by cargo, and the control plane, which is this Python.

        Raises:
            EnvironmentLacks: those of a commit would be this clone's under another name.

        """
        if self.sources and self.sources.same_mesh:
            raise EnvironmentLacks(
                f"no earlier build: {self.sources.commit} and this clone have the same sources of "
                "the mesh; name another with `--previous REF`"
            )
        return [*self._programs(), self._control_plane()]

    def refmesh(self, *arguments: str) -> str:
        """
        What this build's `refmesh` prints.

        Raises:
            MeshError: it ended with an error; says which.

        """
        root = str(self._root)
        done = subprocess.run(
            [sys.executable, "-m", self.options.refmesh_module, *arguments],
            cwd=root,  # Python looks for the module here first
            env={**os.environ, "PYTHONPATH": root, **self._planted()},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise MeshError(
                f"refmesh {' '.join(arguments[:2])}: exit code {done.returncode}: "
                f"{done.stderr.strip()}"
            )
        return done.stdout

    def _programs(self) -> list[Image]:
        """The executables at Linkerd's paths; `proxy_binary` replaces only the proxy itself."""
        features = ("mutants",) if self.options.mutant else ()
        other = self.sources if self.sources and not self.sources.same_proxy else None
        root, commit = (other.root, other.commit) if other else (CLONE, "")
        programs = toolchain.build(_PACKAGE, features=features, root=root, commit=commit)
        if self.options.proxy_binary:
            programs |= {"linkerd2-proxy": self.options.proxy_binary}
        init = f"{_FOLDER}/{_INIT_PROGRAM}"
        # Of a commit that does not know of proxy-init's own image, the proxy's holds it too.
        held = {name for name in programs if name != _INIT_PROGRAM or self.sources}
        proxy = Image(
            reference=self.proxy_image,
            binds=[(programs[name], f"{_FOLDER}/{name}") for name in sorted(held)],
            entrypoint=[f"{_FOLDER}/linkerd2-proxy-identity"],
            env=self._planted(),
            user=_PROXY_USER,
        )
        # Its user is root: the capabilities that its rules need are lost to any other.
        redirect = Image(
            reference=f"{_INIT}:{self.version}",
            binds=[(programs[_INIT_PROGRAM], init)],
            entrypoint=[init],
            env=self._planted(),
            packages=["iptables"],
        )
        return [proxy, redirect]

    def _control_plane(self) -> Image:
        """The control plane, or its twin that a mutant can be planted in."""
        reference = f"{_CONTROL_PLANE}:{self.version}"
        return python_image(
            reference,
            self.options.control_plane_module,
            env=self._planted(),
            besides=["reference_mesh"],
            root=self._root,
        )

    @property
    def _root(self) -> Path:
        return self.sources.root if self.sources else CLONE

    def _planted(self) -> dict[str, str]:
        return {"MESHMARK_MUTANT": self.options.mutant} if self.options.mutant else {}
