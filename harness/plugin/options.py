"""The options of a run, from the command line of pytest or of `meshmark run`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness.record.catalogue import Catalogue, Lane, read_catalogue
from harness.record.knownfail import KnownFail, read_known_fails

if TYPE_CHECKING:
    import pytest

__all__ = [
    "Options",
    "add_options",
    "catalogue_of",
    "known_fails_of",
    "options_of",
    "suites_folder",
]


_KIND_ENV = "conformance-kind"
"""Of tox.ini; it loads pytest-kind, and gives `--cluster kind --strict` itself."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a run was asked to do.

    suite: conformance, perf or chaos. mesh, cluster: names, as `--mesh` and `--cluster` take them.
    proxy_binary: an executable in place of the mesh's own proxy.
    keep: leave cluster and mesh up. long: lengthen what is a matter of duration.
    strict: let extended checks decide about the exit code like core ones.
    lane: the only lane to run; None for all. mutant: the planted defect to install with.
    previous: the build that checks of upgrades come from and go back to, as the mesh names builds;
        for the reference mesh a git ref, or `last-change^`: the commit before it last changed.
    run_dir: the run folder; None makes a new one below `out`.
    selection: the `-k` expression, empty for all.
    pytest_options: what pytest was given besides, as it stands after `--`.
    pytest_kind: pytest-kind is loaded, some of whose options these may be.
    """

    suite: str = "conformance"
    mesh: str = "reference"
    cluster: str = "embedded"
    proxy_binary: Path | None = None
    keep: bool = False
    long: bool = False
    strict: bool = False
    lane: Lane | None = None
    mutant: str | None = None
    previous: str = "last-change^"
    seed: int = 1
    run_dir: Path | None = None
    out: Path = Path("out")
    catalogue: Path | None = None
    known_fails: Path | None = None
    selection: str = ""
    pytest_options: tuple[str, ...] = ()
    pytest_kind: bool = False

    @property
    def engine(self) -> str:
        """The engine of the cluster: embedded, kind or external."""
        return "external" if self.cluster.startswith("context:") else self.cluster

    def command(self, selection: str = "", *, keep: bool | None = None) -> str:
        """
        The command line of this run, with another selection when given.

        It is one of `meshmark run`, or of the environment of tox that loads pytest-kind.
        """
        plain = Options()
        by_tox = self.pytest_kind and self.suite == plain.suite and self.engine == "kind"
        words = ["tox", "-e", _KIND_ENV, "--"] if by_tox else ["meshmark", "run", self.suite]
        for flag, value, default in (
            ("--mesh", self.mesh, plain.mesh),
            ("--cluster", self.cluster, self.cluster if by_tox else plain.cluster),
            ("--proxy-binary", self.proxy_binary, None),
            ("--lane", self.lane, None),
            ("--mesh-mutant", self.mutant, None),
            ("--previous", self.previous, plain.previous),
            ("--seed", self.seed, plain.seed),
            ("-k", selection or self.selection, ""),
        ):
            if value != default:
                words += [flag, str(value)]
        words += ["--long"] if self.long else []
        words += ["--strict"] if self.strict and not by_tox else []
        words += ["--keep"] if (self.keep if keep is None else keep) else []
        words += ["--", *self.pytest_options] if self.pytest_options else []
        return shlex.join(words)


def suites_folder() -> Path:
    """Where the suites that come with meshmark are."""
    return Path(__file__).parents[2] / "suites"


def add_options(parser: pytest.Parser) -> None:
    """
    Add every field of `Options` to pytest's command line.

    All values stay strings and numbers there: pytest-xdist sends them to its workers.
    """
    group = parser.getgroup("meshmark", "meshmark: judge a service mesh")
    plain = Options()
    group.addoption("--suite", default=plain.suite, help="name of the suite in the run folder")
    group.addoption("--mesh", default=plain.mesh, help="mesh to judge (default: %(default)s)")
    group.addoption("--cluster", default=plain.cluster, help="embedded, kind, or context:NAME")
    group.addoption("--proxy-binary", default=None, help="use this proxy executable")
    group.addoption("--keep", action="store_true", help="leave cluster and mesh up at the end")
    group.addoption("--long", action="store_true", help="lengthen what is a matter of duration")
    group.addoption(
        "--strict-levels", action="store_true", help="extended checks count like core ones"
    )
    lanes = [lane.value for lane in Lane]
    group.addoption("--lane", default=None, choices=lanes, help="run the checks of one lane only")
    group.addoption("--mesh-mutant", default=None, help="install with this planted defect")
    group.addoption("--previous", default=plain.previous, help="build to upgrade from: a git ref")
    group.addoption("--seed", default=plain.seed, type=int, help="seed of all random choices")
    group.addoption("--run-dir", default=None, help="run folder (default: a new one)")
    group.addoption("--out", default=str(plain.out), help="where run folders are made")
    group.addoption("--catalogue", default=None, help="catalogue.toml of the suite")
    group.addoption("--known-fails", default=None, help="known-fail.toml of the suite")
    group.addoption("--pytest-options", default="", help="what follows --, to be recorded")


def options_of(config: pytest.Config) -> Options:
    """The options that pytest was started with."""
    lane = config.getoption("--lane")
    return Options(
        suite=config.getoption("--suite"),
        mesh=config.getoption("--mesh"),
        cluster=config.getoption("--cluster"),
        proxy_binary=_absolute(config.getoption("--proxy-binary")),
        keep=config.getoption("--keep"),
        long=config.getoption("--long"),
        strict=config.getoption("--strict-levels"),
        lane=Lane(lane) if lane else None,
        mutant=config.getoption("--mesh-mutant"),
        previous=config.getoption("--previous"),
        seed=config.getoption("--seed"),
        run_dir=_absolute(config.getoption("--run-dir")),
        out=Path(config.getoption("--out")).absolute(),
        catalogue=_absolute(config.getoption("--catalogue")),
        known_fails=_absolute(config.getoption("--known-fails")),
        selection=config.getoption("keyword", ""),
        pytest_options=tuple(shlex.split(config.getoption("--pytest-options"))),
        pytest_kind=hasattr(config.option, "kind_bin"),
    )


def catalogue_of(options: Options) -> Catalogue:
    """The catalogue of the suite; empty for a suite that has none."""
    path = options.catalogue or suites_folder() / options.suite / "catalogue.toml"
    if options.catalogue is None and not path.exists():
        return Catalogue([])
    return read_catalogue(path)


def known_fails_of(options: Options, catalogue: Catalogue) -> list[KnownFail]:
    """The known-fail list of the suite; empty for a suite that has none."""
    path = options.known_fails or suites_folder() / options.suite / "known-fail.toml"
    return read_known_fails(path, catalogue)


def _absolute(path: Path | str | None) -> Path | None:
    return None if path is None else Path(path).absolute()
