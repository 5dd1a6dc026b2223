"""The `meshmark` command: names, exit codes, and how soon it answers."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from harness.cli import main
from harness.cli.checks import implemented
from harness.cli.mutants import kill_matrix
from harness.cli.run import _check_engine, _in_one_lane, check_selection, pytest_arguments
from harness.cluster.kubeconfig import kubeconfig
from harness.errors import UsageError
from harness.plugin.options import Options, catalogue_of
from harness.record.catalogue import Lane
from harness.record.folder import RunFolder
from harness.record.model import CheckRecord, ClusterFacts, Level, MeshFacts, Run, Verdict

if TYPE_CHECKING:
    from pathlib import Path

HELP_BUDGET_MS = 300


def code_of(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of("--help") == 0
    told = capsys.readouterr().out
    for command in ("run", "report", "compare", "doctor", "up", "demo", "down", "checks"):
        assert re.search(rf"^  {command} ", told, re.MULTILINE)


def test_help_imports_little_and_so_answers_soon() -> None:
    """In processor time: how long it takes by the clock is the machine's affair, too."""
    code = (
        "import sys\nfrom harness.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    told = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code], capture_output=True, text=True, check=True
    ).stderr
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    names = {line.rpartition("|")[2].strip() for line in told.splitlines()}
    heavy = {"pytest", "numpy", "scipy", "pandas", "grpc", "lightkube", "rich", "jinja2", "msgspec"}
    assert not names & heavy
    used_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert used_s * 1000 < HELP_BUDGET_MS


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run", "conformance", "--mesh", "refrence"], "did you mean reference?"),
        (["run", "conformance", "--cluster", "embeded"], "did you mean embedded?"),
        (["run", "conformance", "--cluster", "minikube"], "context:kind-NAME for one of kind"),
        (["run", "conformance", "-k", "TLS-99"], "did you mean TLS-0"),
        (["run", "conformance", "-k", "lc-08"], "LC-08 is only for kind clusters: only its nodes"),
        (["run", "nothing"], "'nothing' is not one of"),
        (["run", "conformance", "--cluster", "context:c"], "with --lane steady and --lane short"),
        (
            ["run", "conformance", "--mesh", "unmeshed", "--mesh-mutant", "allow-all-authz"],
            "--mesh-mutant: mesh unmeshed takes no",
        ),
        (
            ["run", "perf", "--mesh", "envoy", "--proxy-binary", sys.executable],
            "--mesh reference does",
        ),
        (["run", "mutants", "--mesh", "envoy"], "meshmark run mutants: mesh envoy takes no"),
        (
            ["run", "mutants", "--proxy-binary", sys.executable],
            "--proxy-binary with meshmark run mutants: another proxy has none",
        ),
        (
            [
                *("run", "conformance", "--mesh-mutant", "allow-all-authz"),
                *("--proxy-binary", sys.executable),
            ],
            "--proxy-binary with --mesh-mutant: another proxy has none",
        ),
        (["run", "perf", "--all"], "--all is for `meshmark run mutants`"),
        (["up", "--workers", "1"], "--workers is for --cluster kind"),
        (["run", "conformance", "RT-01"], "to select checks: -k RT-01"),
        (["run", "mutants", "--", "--foo"], "mutants hands nothing to pytest: leave out --foo"),
        (["report", "no-such-run"], "no run 'no-such-run' below"),
        (["runn"], "No such command 'runn'"),
    ],
)
def test_bad_input_is_named_and_ends_with_64(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of(*arguments) == 64
    assert told in capsys.readouterr().err


def test_an_unknown_context_is_told_before_anything_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(kubeconfig("mine", "http://127.0.0.1:1", "", "token"))
    monkeypatch.setenv("KUBECONFIG", str(path))
    assert code_of("run", "conformance", "--cluster", "context:nine", "--lane", "steady") == 64
    told = capsys.readouterr()
    assert f"{path} has no context 'nine'; it has: mine" in told.err
    assert "building" not in told.out


def test_a_selection_may_name_any_check_of_the_catalogue_in_any_case() -> None:
    catalogue = catalogue_of(Options())
    check_selection("tls-01 or RT-01 and not slow", catalogue, {"RT-01"})
    check_selection("anything", catalogue, set())
    with pytest.raises(UsageError, match="RT-99"):
        check_selection("RT-01 or RT-99", catalogue, {"RT-01"})
    with pytest.raises(UsageError, match="no test for SP-06 yet"):
        check_selection("SP-06", catalogue, {"RT-01"})


@pytest.mark.parametrize("selection", ["", "not LC-09", "lc-09 or RT-01", "LC-09 or grpc"])
def test_a_selection_of_more_than_what_is_for_another_engine_is_run(selection: str) -> None:
    _check_engine(Options(selection=selection), catalogue_of(Options()))


def test_each_lane_gets_a_process_and_one_lane_needs_none() -> None:
    assert "loadgroup" in pytest_arguments(Options())
    assert "loadgroup" not in pytest_arguments(Options(suite="perf"))


def test_the_command_line_of_a_run_repeats_what_was_asked() -> None:
    options = Options(mesh="unmeshed", seed=7, long=True, strict=True, selection="TLS-01 or RT-01")
    assert options.command() == (
        "meshmark run conformance --mesh unmeshed --seed 7 -k 'TLS-01 or RT-01' --long --strict"
    )
    assert options.command("RT-01", keep=True).endswith("-k RT-01 --long --strict --keep")


def test_checks_of_one_lane_need_no_lane_to_be_named_on_somebodys_cluster() -> None:
    catalogue = catalogue_of(Options())
    for cluster, lane in (("context:c", Lane.STEADY), ("kind", None)):
        options = Options(cluster=cluster, selection="rt-01 or TLS-01")
        assert _in_one_lane(options, catalogue).lane == lane


def test_what_pytest_was_given_is_part_of_that_and_reaches_it() -> None:
    options = Options(pytest_options=("--kind-name", "two words"))
    assert options.command() == "meshmark run conformance -- --kind-name 'two words'"
    arguments = pytest_arguments(options)
    assert arguments[-2:] == ["--kind-name", "two words"]
    assert "--pytest-options=--kind-name 'two words'" in arguments


def test_tests_are_found_without_importing_them(tmp_path: Path) -> None:
    (tmp_path / "test_a.py").write_text(
        "import nothing_there\n@check('RT-01')\ndef test(): pass\n@check('SP-01', last=True)\n"
        "def test_2(): pass\n"
    )
    assert implemented(tmp_path) == {"RT-01", "SP-01"}


@pytest.mark.parametrize(("suite", "code"), [("conformance", 0), ("perf", 64)])
def test_engines_are_compared_by_what_holds_and_not_by_what_it_costs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suite: str, code: int
) -> None:
    monkeypatch.chdir(tmp_path)
    for engine in ("embedded", "kind"):
        run = run_with(suite, engine, RT_01=Verdict.PASS, PR_01=Verdict.PASS)
        if engine == "kind":
            run.checks[1].verdict = Verdict.NOT_RUN
        RunFolder(tmp_path / engine).write_run(run)

    assert code_of("compare", "embedded", "kind", "-o", "page.html") == code
    if code == 0:
        page = (tmp_path / "page.html").read_text()
        assert "B (kind)" in page
        assert "PR-01" in page


def run_with(suite: str = "conformance", engine: str = "embedded", **verdicts: Verdict) -> Run:
    return Run(
        suite=suite,
        mesh=MeshFacts(name="reference"),
        cluster=ClusterFacts(engine=engine),
        started="2026-11-23T04:00:00Z",
        complete=True,
        checks=[
            CheckRecord(id=key.replace("_", "-"), level=Level.CORE, verdict=verdict)
            for key, verdict in verdicts.items()
        ],
    )


def test_a_mutant_is_killed_by_checks_that_pass_without_it_and_fail_with_it() -> None:
    catalogue = catalogue_of(Options())
    first, second = list(catalogue.mutants)[:2]
    sound = run_with(RT_01=Verdict.PASS, TLS_09=Verdict.FAIL, TLS_10=Verdict.PASS)
    matrix = kill_matrix(
        catalogue,
        sound,
        {
            first: run_with(RT_01=Verdict.PASS, TLS_09=Verdict.FAIL, TLS_10=Verdict.FAIL),
            second: run_with(RT_01=Verdict.ERROR, TLS_10=Verdict.PASS),
        },
    )
    assert [mutant.killed_by for mutant in matrix.mutants] == [["TLS-10"], []]
    assert matrix.checks == {"RT-01": [], "TLS-10": [first]}
    assert matrix.core_without_kill == ["RT-01", "TLS-09"]


def test_a_check_misses_a_mutant_that_it_names_for_whatever_reason() -> None:
    catalogue = catalogue_of(Options())
    name = catalogue["TLS-03"].mutants[0]
    verdicts = {
        "no kill": (Verdict.PASS, Verdict.PASS, ["pass"]),
        "an error is none": (Verdict.PASS, Verdict.ERROR, ["error"]),
        "nor is a failure on the sound mesh": (Verdict.FAIL, Verdict.FAIL, ["fail"]),
        "a kill": (Verdict.PASS, Verdict.FAIL, []),
        "not for this mesh": (Verdict.UNSUPPORTED, Verdict.UNSUPPORTED, []),
    }
    for case, (sound, with_it, missed) in verdicts.items():
        matrix = kill_matrix(catalogue, run_with(TLS_03=sound), {name: run_with(TLS_03=with_it)})
        found = [pair.verdict.value for pair in matrix.missed if pair.check == "TLS-03"]
        assert found == missed, case
        assert matrix.flawless is (case == "a kill"), case
