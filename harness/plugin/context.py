"""What a suite tells about its run as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from harness.plugin.options import Options
    from harness.record.model import Figure

__all__ = ["CONTEXT", "Facts", "RunContext"]


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """The mesh and the cluster as found. `binaries` are executables by the name to show."""

    mesh_version: str = ""
    features: list[str] = []
    engine: str = ""
    configuration: dict[str, Any] = {}
    binaries: dict[str, str] = {}


class RunContext:
    """
    One per process: the facts and figures of the run.

    run_dir: the run folder, for files that a suite keeps beside the records.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.run_dir: Path | None = options.run_dir
        self.facts: Facts | None = None
        self._unsent_facts: Facts | None = None
        self._unsent_figures: list[Figure] = []
        self._unsent_hints: list[str] = []

    def describe(
        self,
        *,
        mesh_version: str,
        features: Iterable[str],
        engine: str,
        configuration: Mapping[str, Any] | None = None,
        binaries: Mapping[str, Path] | None = None,
    ) -> None:
        """
        Say which mesh and cluster the checks run against, before the first test's body.

        features: what the mesh claims; a check whose feature is not among them is `unsupported`.
        configuration: effective settings for the fingerprint, JSON-able, without secrets.
        binaries: executables whose SHA-256 belongs to the fingerprint.
        """
        self.facts = Facts(
            mesh_version=mesh_version,
            features=sorted(str(feature) for feature in features),
            engine=engine,
            configuration=dict(configuration or {}),
            binaries={name: str(path) for name, path in (binaries or {}).items()},
        )
        self._unsent_facts = self.facts

    def figure(self, figure: Figure) -> None:
        """Add a measured quantity that belongs to the run, not to one check."""
        self._unsent_figures.append(figure)

    def hint(self, line: str) -> None:
        """Have a line told above the last one, such as how to reach a cluster that is kept."""
        self._unsent_hints.append(line)

    def take_unsent(self) -> tuple[Facts | None, list[Figure], list[str]]:
        """Facts, figures and hints since the last call; they travel with the next record."""
        unsent = (self._unsent_facts, self._unsent_figures, self._unsent_hints)
        self._unsent_facts, self._unsent_figures, self._unsent_hints = None, [], []
        return unsent


CONTEXT = pytest.StashKey[RunContext]()
