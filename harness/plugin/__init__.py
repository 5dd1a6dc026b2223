"""
The pytest plugin that turns tests into checks: `pytest -p harness.plugin suites/conformance`.

A test that carries `@check("RT-01")` is judged by the rules of `harness.plugin.judge` and leaves a
record in the run folder. Each process judges its own tests (`harness.plugin.judging`); the one that
the user started keeps the run folder and tells how it goes (`harness.plugin.keeping`), also when
pytest-xdist gives every lane a process of its own.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.errors import MeshmarkError
from harness.plugin import hooks
from harness.plugin.check import CHECK, Check, Phase
from harness.plugin.context import CONTEXT, RunContext
from harness.plugin.judging import Judge
from harness.plugin.keeping import Keeper
from harness.plugin.options import Options, add_options, catalogue_of, known_fails_of, options_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from _pytest.mark.structures import MarkDecorator

__all__ = ["Check", "Options", "Phase", "RunContext", "check"]


def check(check_id: str, *, last: bool = False, looks_back: bool = False) -> MarkDecorator:
    """
    Mark a test as (one of) the test(s) of a check of the catalogue.

    last: run after all others of its lane, for checks that disturb the mesh.
    looks_back: run after even those, for checks that look back on the whole lane. With `last`:
        after those too, for a check that takes down what they look at.
    """
    return pytest.mark.check(check_id, last=last, looks_back=looks_back)


@pytest.fixture(name="check")
def _check(request: pytest.FixtureRequest) -> Check:
    """The check under test: phases, measured values, evidence, controls."""
    stash: pytest.Stash = request.node.stash
    return stash[CHECK]


@pytest.fixture(scope="session")
def run_options(pytestconfig: pytest.Config) -> Options:
    """What the user asked for on the command line."""
    return options_of(pytestconfig)


@pytest.fixture(scope="session")
def run_context(pytestconfig: pytest.Config) -> RunContext:
    """Where a suite says which mesh it found, and leaves figures."""
    return pytestconfig.stash[CONTEXT]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of `meshmark run`."""
    add_options(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Add the hook by which a suite builds what it needs."""
    pluginmanager.add_hookspecs(hooks)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """Let the suite prepare; what is wrong by then ends pytest with its text and exit code."""
    option = config.option
    if hasattr(config, "workerinput") or option.help or option.version or option.collectonly:
        return None
    try:
        options = options_of(config)
        known_fails_of(options, catalogue_of(options))
        config.hook.pytest_meshmark_prepare(config=config, options=options, progress=_say)
    except MeshmarkError as error:
        sys.stderr.write(f"meshmark: {error}\n")
        return error.exit_code
    return None


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def pytest_configure(config: pytest.Config) -> None:
    """Set up judging here, and keeping in the process that the user started."""
    config.addinivalue_line("markers", "check(id, last=False): a test of that check")
    config.addinivalue_line("markers", "xdist_group(name): tests that share a process")
    options = options_of(config)
    catalogue = catalogue_of(options)
    context = RunContext(options)
    config.stash[CONTEXT] = context
    config.pluginmanager.register(Judge(options, catalogue, context), "meshmark-judge")
    if not hasattr(config, "workerinput"):
        register: Callable[[object, str], object] = config.pluginmanager.register
        register(Keeper(config, options, catalogue, context), "meshmark-keeper")
    else:
        context.run_dir = Path(config.workerinput["meshmark_run_dir"])
