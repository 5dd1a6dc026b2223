"""`meshmark run`: a suite against a mesh, in this process, by pytest."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
import pytest

from harness import mesh as meshes
from harness.cli import checks, mutants
from harness.cluster import choice
from harness.errors import UsageError
from harness.plugin.options import Options, catalogue_of, suites_folder
from harness.record.catalogue import Catalogue, Lane, near
from harness.record.model import Exit

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

__all__ = ["check_selection", "command", "pytest_arguments", "run_suite"]

_SUITES = ("conformance", "perf", "mutants")
_CHECK_ID = re.compile(r"\b[A-Za-z]{2,3}-\d+\b")
_PYTEST_CODES: dict[int, int] = {
    pytest.ExitCode.INTERNAL_ERROR: Exit.HARNESS,
    pytest.ExitCode.USAGE_ERROR: Exit.USAGE,
}
_SECONDS_PER_TEST = 300
"""After this long a test hangs rather than works; `--long` multiplies it."""


@click.command("run")
@click.argument("suite", type=click.Choice(_SUITES))
@click.option("--mesh", default="reference", show_default=True, help="Mesh to judge.")
@click.option(
    "--cluster", default="embedded", show_default=True, help="embedded, kind, or context:NAME."
)
@click.option(
    "--proxy-binary",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Executable that takes the place of the mesh's own proxy.",
)
@click.option("-k", "selection", default="", metavar="EXPR", help="Checks, such as 'RT or TLS-01'.")
@click.option("--lane", type=click.Choice([lane.value for lane in Lane]), help="Only this lane.")
@click.option("--keep", is_flag=True, help="Leave cluster and mesh up at the end.")
@click.option("--long", is_flag=True, help="Lengthen what is a matter of duration.")
@click.option(
    "--strict", is_flag=True, help="Extended checks decide, too, whether the run is good."
)
@click.option("--seed", default=1, show_default=True, help="Seed of all random choices.")
@click.option("--mesh-mutant", metavar="ID", help="Install the mesh with this planted defect.")
@click.option(
    "--previous", default=Options().previous, show_default=True, metavar="REF",
    help="Build that the checks of upgrades start from: a git ref, or last-change^.",
)  # fmt: skip
@click.option("--all", "every_check", is_flag=True, help="mutants: every check, every mutant.")
@click.option(
    "--out", default="out", show_default=True, type=click.Path(file_okay=False, path_type=Path),
    help="Where run folders are made.",
)  # fmt: skip
@click.argument("pytest_options", nargs=-1)
@click.option("--run-dir", type=click.Path(file_okay=False, path_type=Path), help="Run folder.")
def command(
    *,
    suite: str,
    mesh: str,
    cluster: str,
    proxy_binary: Path | None,
    selection: str,
    lane: str | None,
    keep: bool,
    long: bool,
    strict: bool,
    seed: int,
    mesh_mutant: str | None,
    previous: str,
    every_check: bool,
    out: Path,
    run_dir: Path | None,
    pytest_options: tuple[str, ...],
) -> int:
    """
    Run a suite against a mesh.

    Leaves a run folder and its report below out/, and out/latest pointing at it. The exit code is 0
    when every core check passed that has a test and whose feature the mesh claims, with --strict
    every extended one too; it is not when no check was asked at all. What comes after -- goes to
    pytest, for the options of plugins that PYTEST_ADDOPTS names.
    """
    options = Options(
        suite="conformance" if suite == "mutants" else suite,
        mesh=mesh,
        cluster=cluster,
        proxy_binary=proxy_binary,
        keep=keep,
        long=long,
        strict=strict,
        lane=Lane(lane) if lane else None,
        mutant=mesh_mutant,
        previous=previous,
        seed=seed,
        run_dir=run_dir,
        out=out,
        selection=selection,
        pytest_options=pytest_options,
    )
    _check_pytest_options(suite, pytest_options)
    _check_names(options)
    _check_changes(suite, options, every_check=every_check)
    _check_mutant(options.mutant, catalogue_of(options))
    with_test = checks.implemented(suites_folder() / options.suite)
    check_selection(selection, catalogue_of(options), with_test)
    _check_engine(options, catalogue_of(options))
    options = _in_one_lane(options, catalogue_of(options))
    choice.require(options.cluster)
    return (
        mutants.run(options, every_check=every_check) if suite == "mutants" else run_suite(options)
    )


def run_suite(options: Options) -> int:
    """Run the tests of a suite in this process and return the exit code of `meshmark`."""
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    code = pytest.main(pytest_arguments(options))
    if code == pytest.ExitCode.NO_TESTS_COLLECTED:
        asked = f"-k {options.selection!r}" if options.selection else f"suite {options.suite}"
        raise UsageError(f"no test for {asked}; `meshmark checks` shows which checks have one")
    return int(_PYTEST_CODES.get(code, code))


def pytest_arguments(options: Options) -> list[str]:
    """What pytest is called with: our plugin, each lane in a process of its own, no files left."""
    suites = suites_folder()
    seconds = _SECONDS_PER_TEST * (10 if options.long else 1)
    seconds *= 1 if options.engine == "embedded" else 2  # the first test makes the cluster
    arguments = [
        f"--rootdir={suites.parent}", "-c", str(suites.parent / "harness/plugin/suite.toml"),
        "-p", "harness.plugin", "-p", "timeout", "-p", "xdist", "-p", "no:cacheprovider",
        "-qq", "--no-header", "--no-summary", f"--timeout={seconds}",
        f"--suite={options.suite}", f"--mesh={options.mesh}", f"--cluster={options.cluster}",
        f"--seed={options.seed}", f"--out={options.out.absolute()}",
    ]  # fmt: skip
    if options.suite == "conformance" and options.lane is None:
        # A restarted process would wait for ever for the tests of the one that died.
        arguments += ["-n", str(len(Lane)), "--dist", "loadgroup", "--max-worker-restart", "0"]
    for flag, value in (
        ("--proxy-binary", options.proxy_binary and options.proxy_binary.absolute()),
        ("--lane", options.lane),
        ("--mesh-mutant", options.mutant),
        ("--previous", options.previous),
        ("--run-dir", options.run_dir and options.run_dir.absolute()),
        ("-k", options.selection),
    ):
        if value:
            arguments += [flag, str(value)]
    arguments += ["--keep"] if options.keep else []
    arguments += ["--long"] if options.long else []
    arguments += ["--strict-levels"] if options.strict else []
    if options.pytest_options:
        arguments += [f"--pytest-options={shlex.join(options.pytest_options)}"]
    return [*arguments, str(suites / options.suite), *options.pytest_options]


def check_selection(selection: str, catalogue: Catalogue, with_test: Container[str]) -> None:
    """
    Refuse, before anything is built, a `-k` expression that cannot select what it names.

    Raises:
        UsageError: it names a check that does not exist, or only checks that have no test.

    """
    named = [catalogue[check_id.upper()].id for check_id in _CHECK_ID.findall(selection)]
    if named and not any(check_id in with_test for check_id in named):
        raise UsageError(
            f"no test for {', '.join(named)} yet; `meshmark checks` shows which checks have one"
        )


def _check_engine(options: Options, catalogue: Catalogue) -> None:
    """Refuse a selection of nothing but checks that are not for this kind of cluster."""
    words = [word.upper() for word in re.findall(r"[\w-]+", options.selection)]
    named = [word for word in words if word != "OR"]
    if not all(_CHECK_ID.fullmatch(word) for word in named):
        return  # it selects by other words too, or all but what it names
    why_not = {check_id: catalogue[check_id].left_out_of(options.engine) for check_id in named}
    if named and all(why_not.values()):
        told = "; ".join(f"{check_id} is {why}" for check_id, why in why_not.items())
        raise UsageError(f"nothing to run on --cluster {options.cluster}: {told}")


def _in_one_lane(options: Options, catalogue: Catalogue) -> Options:
    """Keep a run on somebody's cluster to one lane: lanes install the mesh differently."""
    if options.engine != "external" or options.suite != "conformance" or options.lane:
        return options
    lanes = {catalogue[check_id].lane for check_id in _CHECK_ID.findall(options.selection.upper())}
    if len(lanes) != 1:
        raise UsageError(
            f"{options.cluster} can hold one mesh at a time, and each lane needs its own: run them "
            f"one after the other, with {' and '.join(f'--lane {lane}' for lane in Lane)}"
        )
    return msgspec.structs.replace(options, lane=lanes.pop())


def _check_pytest_options(suite: str, words: Sequence[str]) -> None:
    if words and suite == "mutants":
        raise UsageError(f"mutants hands nothing to pytest: leave out {shlex.join(words)}")
    if words and not words[0].startswith("-"):
        raise UsageError(
            f"{words[0]!r} is not an option of pytest; to select checks: -k {shlex.quote(words[0])}"
        )


def _check_changes(suite: str, options: Options, *, every_check: bool) -> None:
    """Refuse to change what cannot be changed: nothing would be asked of it."""
    if every_check and suite != "mutants":
        raise UsageError(f"--all is for `meshmark run mutants`; without -k, {suite} runs all of it")
    for what, asked in (
        ("--proxy-binary", options.proxy_binary),
        ("--mesh-mutant", options.mutant),
        ("meshmark run mutants", suite == "mutants"),
    ):
        if asked and options.mesh not in meshes.CHANGEABLE:
            raise UsageError(
                f"{what}: mesh {options.mesh} takes no other proxy and no planted defect; "
                f"--mesh {' or '.join(meshes.CHANGEABLE)} does"
            )
    if options.proxy_binary and (options.mutant or suite == "mutants"):
        asked_too = "--mesh-mutant" if options.mutant else "meshmark run mutants"
        raise UsageError(
            f"--proxy-binary with {asked_too}: another proxy has none of the planted defects, and "
            "checks would seem to miss them; leave out --proxy-binary"
        )


def _check_mutant(mutant: str | None, catalogue: Catalogue) -> None:
    if mutant and mutant not in catalogue.mutants:
        known = f"; known: {', '.join(catalogue.mutants)}"
        raise UsageError(f"no mutant {mutant!r}{near(mutant, catalogue.mutants) or known}")


def _check_names(options: Options) -> None:
    if options.mesh not in meshes.NAMES:
        known = f"; known: {', '.join(meshes.NAMES)}"
        raise UsageError(f"no mesh {options.mesh!r}{near(options.mesh, meshes.NAMES) or known}")
    if options.cluster not in choice.ENGINES and not options.cluster.startswith("context:"):
        known = (
            f"; known: {', '.join(choice.ENGINES)}, and context:NAME for a cluster of your "
            "kubeconfig (context:kind-NAME for one of kind)"
        )
        raise UsageError(
            f"no cluster {options.cluster!r}{near(options.cluster, choice.ENGINES) or known}"
        )
