"""What a suite's author sees of the plugin, run by pytest in a folder of its own."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest

pytest_plugins = ["pytester"]

CATALOGUE = """
[[check]]
id = "RT-01"
title = "Reachability"
level = "core"
lane = "steady"
feature = "routing"
source = "meshmark"
assertion = ["exact"]

[[check]]
id = "ID-03"
title = "Rotation"
level = "core"
lane = "short"
feature = "rotation"
source = "meshmark"
assertion = ["time"]

[[check]]
id = "TLS-01"
title = "Encryption"
level = "core"
lane = "steady"
feature = "mtls"
source = "meshmark"
assertion = ["control"]
"""

HEAD = """
import pytest
from harness.errors import *
from harness.plugin import check
"""


class Suite:
    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester = pytester
        pytester.makefile(".toml", catalogue=CATALOGUE)

    def run(self, body: str, *options: str, conftest: str = "") -> pytest.RunResult:
        self.pytester.makepyfile(test_suite=HEAD + body)
        self.pytester.makeconftest(conftest)
        return self.pytester.runpytest(
            "-p", "harness.plugin", "-p", "no:cacheprovider", "-p", "no:hypothesispytest",
            "--catalogue=catalogue.toml",
            "--known-fails=known.toml", "-qq", *options,
        )  # fmt: skip

    @property
    def saved(self) -> dict[str, Any]:
        latest: Path = self.pytester.path / "out" / "latest" / "run.json"
        return json.loads(latest.read_text())

    def record(self, check_id: str) -> dict[str, Any]:
        return next(one for one in self.saved["checks"] if one["id"] == check_id)


@pytest.fixture
def suite(pytester: pytest.Pytester) -> Suite:
    return Suite(pytester)


def test_a_pass_is_recorded_with_value_phases_and_evidence(suite: Suite) -> None:
    result = suite.run("""
@check("RT-01")
def test_it(check):
    with check.phase("converge"):
        pass
    check.measured(0.897, "share", interval=(0.885, 0.908), n=4400)
    check.evidence("ledger", {"client": 1})
""")
    record = suite.record("RT-01")
    assert result.ret == 0
    assert record["verdict"] == "pass"
    assert (record["value"], record["unit"], record["n"]) == (0.897, "share", 4400)
    assert record["interval"] == [0.885, 0.908]
    assert {"arrange", "converge", "tear down"} <= record["phases"].keys()
    assert record["evidence"] == [{"kind": "ledger", "data": {"client": 1}}]
    result.stdout.fnmatch_lines(["*1/1?*RT-01*Reachability*pass*0.897 share*", "conformance of*"])


def test_the_last_line_counts_what_is_missing_and_names_the_report(suite: Suite) -> None:
    result = suite.run("@check('RT-01')\ndef test_it(): pass")
    assert suite.record("ID-03")["verdict"] == "not-implemented"
    assert result.outlines[-1] == (
        "conformance of reference: 1 passed, 2 not implemented; report: out/latest/report.html"
    )
    assert suite.saved["complete"] is True


FAILING = "@check('RT-01')\ndef test_it(check): check.equal(503, 200, 'status of GET /')\n"
PASSING = "@check('ID-03')\ndef test_other(): pass\n"


def test_what_failed_is_told_again_at_the_end(suite: Suite) -> None:
    told = str(suite.run(FAILING + PASSING).stdout)
    assert told.count("status of GET /") == 2
    assert "seen:     503" in told[told.index("ID-03") :]


def test_what_failed_is_told_once_if_that_is_the_end(suite: Suite) -> None:
    told = str(suite.run(PASSING + FAILING).stdout)
    assert told.count("status of GET /") == 1


@pytest.mark.parametrize(
    ("body", "verdict", "phase", "code"),
    [
        ("with check.phase('converge'): raise NotInTime('x')", "fail", "converge", 1),
        ("with check.phase('measure'): assert 1 == 2", "fail", "measure", 1),
        ("assert 1 == 2", "fail", "measure", 1),
        ("with check.phase('arrange'): assert 1 == 2", "error", "arrange", 70),
        ("raise ClusterError('node gone')", "error", "measure", 70),
        ("raise ZeroDivisionError", "error", "measure", 70),
        ("check.control(False, 'sniffer sees plaintext')", "inconclusive", "control", 2),
        ("with check.phase('control'): assert 1 == 2", "inconclusive", "control", 2),
        ("raise MeshError('refused')", "fail", "measure", 1),
    ],
)
def test_what_a_test_raises_decides_the_verdict(
    suite: Suite, body: str, verdict: str, phase: str, code: int
) -> None:
    result = suite.run(f"@check('RT-01')\ndef test_it(check):\n    {body}")
    record = suite.record("RT-01")
    assert (record["verdict"], record["failure"]["phase"], result.ret) == (verdict, phase, code)


def test_a_failure_tells_both_sides_and_how_to_run_it_again(suite: Suite) -> None:
    result = suite.run("""
@check("RT-01")
def test_it(check):
    check.equal(503, 200, "status of GET /")
""")
    failure = suite.record("RT-01")["failure"]
    assert failure == {
        "phase": "measure",
        "message": "status of GET /",
        "expected": "200",
        "seen": "503",
        "rerun": "meshmark run conformance -k RT-01 --keep",
    }
    result.stdout.fnmatch_lines(["*expected: 200", "*seen: *503", "*again: meshmark run*"])


def test_failing_fixtures_are_errors_of_the_harness(suite: Suite) -> None:
    suite.run("""
@pytest.fixture
def pods(): raise AssertionError("no pods")
@check("RT-01")
def test_it(pods): pass
@pytest.fixture
def leaky():
    yield
    raise RuntimeError("namespace left behind")
@check("TLS-01")
def test_leak(leaky): pass
""")
    assert suite.record("RT-01")["failure"]["phase"] == "arrange"
    assert suite.record("TLS-01")["failure"]["phase"] == "tear down"
    assert {suite.record("RT-01")["verdict"], suite.record("TLS-01")["verdict"]} == {"error"}


def test_the_worst_of_several_tests_counts(suite: Suite) -> None:
    suite.run("""
@check("RT-01")
@pytest.mark.parametrize("wrong", [False, True, False])
def test_it(wrong): assert not wrong
""")
    assert suite.record("RT-01")["verdict"] == "fail"
    assert len([one for one in suite.saved["checks"] if one["id"] == "RT-01"]) == 1


DESCRIBED = """
import pytest
@pytest.fixture(scope="session", autouse=True)
def mesh(run_context):
    run_context.describe(mesh_version="1.2", features=["routing", "mtls"], engine="embedded")
"""


def test_hints_of_the_suite_are_told_above_the_last_line(suite: Suite) -> None:
    result = suite.run(
        """
@pytest.fixture(scope="session", autouse=True)
def kept(run_context): run_context.hint("kept: export KUBECONFIG=here")
@check("RT-01")
def test_it(): raise ZeroDivisionError
"""
    )
    lines = [line for line in result.stdout.lines if line]
    assert lines[-2] == "kept: export KUBECONFIG=here"


def test_what_the_mesh_does_not_claim_is_unsupported(suite: Suite) -> None:
    result = suite.run(
        """
@check("ID-03")
def test_unclaimed(): raise ZeroDivisionError
@check("RT-01")
def test_claimed_but_refused(): raise Unsupported("routing", "not today")
@check("TLS-01")
def test_part_of_it(): raise Unsupported("opt-out", "no such switch")
""",
        conftest=DESCRIBED,
    )
    assert suite.record("ID-03")["verdict"] == "unsupported"
    assert suite.record("RT-01")["verdict"] == "fail"
    assert suite.record("TLS-01")["verdict"] == "unsupported"
    assert suite.saved["mesh"] == {
        "name": "reference", "version": "1.2", "features": ["mtls", "routing"],
    }  # fmt: skip
    assert result.ret == 1


def test_nothing_is_brought_up_for_what_a_known_mesh_does_not_claim(suite: Suite) -> None:
    suite.run(
        """
@pytest.fixture
def pods(): raise RuntimeError("brought up")
@check("RT-01")
def test_claimed(): pass
@check("ID-03")
def test_unclaimed(pods): pass
""",
        conftest=DESCRIBED,
    )
    assert suite.record("ID-03")["verdict"] == "unsupported"


def test_k_selects_by_id_and_the_rest_is_not_run(suite: Suite) -> None:
    result = suite.run(
        "@check('RT-01')\ndef test_a(): pass\n@check('ID-03')\ndef test_b(): assert 0",
        "-k",
        "RT-01",
    )
    assert suite.record("ID-03")["verdict"] == "not-run"
    assert suite.record("ID-03")["reason"] == "not selected by -k 'RT-01'"
    assert result.ret == 0


def test_a_check_of_another_engine_is_not_run_and_turns_nothing_red(suite: Suite) -> None:
    why = 'engines = ["embedded"]\nengines_why = "it is of the proxy alone"\n'
    suite.pytester.makefile(".toml", catalogue=CATALOGUE + why)
    result = suite.run(
        """
@check("RT-01")
def test_it(check): pass
@check("TLS-01")
def test_other(check): assert False
""",
        "--cluster=kind",
    )

    assert result.ret == 0
    assert suite.saved["cluster"]["engine"] == "kind"
    assert suite.record("TLS-01")["verdict"] == "not-run"
    told = "only for embedded clusters: it is of the proxy alone"
    assert suite.record("TLS-01")["reason"] == told


def test_a_lane_runs_alone(suite: Suite) -> None:
    suite.run(
        "@check('RT-01')\ndef test_a(): assert 0\n@check('ID-03')\ndef test_b(): pass",
        "--lane=short",
    )
    assert suite.record("RT-01")["reason"] == "only lane short was run"
    assert suite.record("ID-03")["verdict"] == "pass"


def test_checks_marked_last_run_last(suite: Suite) -> None:
    suite.run("""
seen = []
@check("ID-03", looks_back=True)
def test_after_all(): assert seen == ["b", "late"]
@check("TLS-01", last=True)
def test_late(): seen.append("late")
@check("RT-01")
def test_b(): seen.append("b")
""")
    assert suite.record("ID-03")["verdict"] == "pass"


def test_an_unknown_id_is_a_usage_error_with_near_matches(suite: Suite) -> None:
    result = suite.run("@check('RT-1')\ndef test_it(): pass")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*no check 'RT-1'*did you mean RT-01*"])


def test_an_interrupted_run_says_so(suite: Suite) -> None:
    result = suite.run("""
@check("RT-01")
def test_a(): pass
@check("TLS-01")
def test_b(): raise KeyboardInterrupt
""")
    assert suite.saved["complete"] is False
    assert suite.record("RT-01")["verdict"] == "pass"
    assert suite.record("TLS-01")["verdict"] == "not-run"
    assert result.ret == 70
    assert "INCOMPLETE" in result.outlines[-1]


def test_records_are_on_disk_while_the_run_goes_on(suite: Suite) -> None:
    suite.run("""
import json, pathlib
@check("RT-01")
def test_a(): pass
@check("TLS-01")
def test_b(run_context):
    saved = json.loads((run_context.run_dir / "run.json").read_text())
    assert [one["id"] for one in saved["checks"]] == ["RT-01"]
    assert saved["complete"] is False
""")
    assert suite.record("TLS-01")["verdict"] == "pass"


def test_a_broken_catalogue_ends_the_run_before_it_starts(suite: Suite) -> None:
    suite.pytester.makefile(".toml", catalogue=CATALOGUE + "colour = 1")
    result = suite.run("@check('RT-01')\ndef test_it(): pass")
    assert result.ret == 64
    assert "unknown field `colour`" in result.errlines[0]
    assert not (suite.pytester.path / "out").exists()


def test_known_fails_need_a_reason_and_a_date(suite: Suite) -> None:
    suite.pytester.makefile(
        ".toml",
        known="""
[[known_fail]]
id = "RT-01"
mesh = "reference"
reason = "flaky switch"
expires = 2099-01-01
[[known_fail]]
id = "TLS-01"
mesh = "reference"
reason = "was broken"
expires = 2099-01-01
[[known_fail]]
id = "ID-03"
mesh = "reference"
reason = "long ago"
expires = 2001-01-01
""",
    )
    suite.run("""
@check("RT-01")
def test_a(): assert 0
@check("TLS-01")
def test_b(): pass
@check("ID-03")
def test_c(): assert 0
""")
    assert suite.record("RT-01")["verdict"] == "known-fail"
    assert suite.record("TLS-01")["reason"].startswith("unexpected pass")
    assert suite.record("ID-03")["verdict"] == "fail"


def test_the_suite_prepares_before_anything_is_kept(suite: Suite) -> None:
    conftest = """
from harness.errors import EnvironmentLacks
def pytest_meshmark_prepare(progress):
    progress("building the proxy")
    raise EnvironmentLacks("no compiler: apt-get install gcc")
"""
    result = suite.run("@check('RT-01')\ndef test_it(): pass", conftest=conftest)
    assert result.ret == 70
    assert result.outlines[0] == "building the proxy"
    assert result.errlines == ["meshmark: no compiler: apt-get install gcc"]
    assert not (suite.pytester.path / "out").exists()


def test_a_run_without_a_test_leaves_no_folder_and_the_latest_as_it_was(suite: Suite) -> None:
    suite.run("@check('RT-01')\ndef test_it(): pass")
    before = suite.saved["id"]
    result = suite.run("@check('RT-01')\ndef test_it(): pass", "-k", "SP-01")
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    assert suite.saved["id"] == before
    assert len(list((suite.pytester.path / "out" / "runs").iterdir())) == 1


def test_a_test_process_that_dies_is_an_error_of_its_check(suite: Suite) -> None:
    result = suite.run(
        "import os\n@check('RT-01')\ndef test_a(): os._exit(9)\n"
        "@check('ID-03')\ndef test_b(): pass",
        "-p",
        "xdist",
        "-n2",
        "--max-worker-restart=0",
        "--dist=loadgroup",
    )
    assert suite.record("RT-01")["verdict"] == "error"
    assert suite.record("ID-03")["verdict"] == "pass"
    assert result.ret == 70


def test_a_suite_keeps_evidence_before_its_pods_are_gone(suite: Suite) -> None:
    conftest = """
import pytest
pods = []
@pytest.fixture
def pod():
    pods.append("web")
    yield
    pods.clear()
def pytest_meshmark_evidence(check):
    check.evidence("pods", list(pods))
    raise OSError("log is gone")
"""
    suite.run(
        "@check('RT-01')\ndef test_a(pod): assert 0\n@check('TLS-01')\ndef test_b(pod): pass",
        conftest=conftest,
    )
    kept = {one["kind"]: one for one in suite.record("RT-01")["evidence"]}
    assert kept["pods"]["data"] == ["web"]
    assert kept["no evidence"]["text"] == "OSError: log is gone"
    assert suite.record("TLS-01")["evidence"] == []


def test_lanes_run_side_by_side_in_processes_of_their_own(suite: Suite) -> None:
    result = suite.run(
        """
import os
@check("RT-01")
def test_a(run_context):
    assert "PYTEST_XDIST_WORKER" in os.environ
    assert run_context.run_dir.name.startswith("20")
@check("ID-03")
def test_b(check): check.equal(1, 2, "one")
""",
        "-p",
        "xdist",
        "-n2",
        "--dist=loadgroup",
        conftest=DESCRIBED.replace('"mtls"', '"rotation"'),
    )
    assert suite.record("RT-01")["verdict"] == "pass"
    assert suite.record("ID-03")["failure"]["expected"] == "2"
    assert suite.record("TLS-01")["verdict"] == "not-implemented"
    assert suite.saved["mesh"]["version"] == "1.2"
    assert result.ret == 1


def test_a_disk_that_is_too_full_for_evidence_ends_the_run_with_a_word(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bytes = Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        if path.parent.name == "logs":
            raise OSError(errno.ENOSPC, "No space left on device")
        return write_bytes(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    result = suite.run(
        "@check('RT-01')\ndef test_a(check):\n    check.evidence('log', 'x' * 5000)\n    assert 0\n"
        "@check('ID-03')\ndef test_b(): pass"
    )
    assert result.ret == 70
    assert "No space left on device; what was written before it stays" in result.stdout.str()
    assert "INTERNALERROR" not in result.stdout.str()
    assert suite.record("RT-01")["verdict"] == "fail"
    assert suite.saved["complete"] is False


@pytest.mark.parametrize("writes", [0, 1])
def test_a_full_disk_is_told_once(
    suite: Suite, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    write_bytes = Path.write_bytes
    left = iter(range(writes))

    def full(path: Path, content: bytes) -> int:
        if next(left, None) is None:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write_bytes(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    result = suite.run("@check('RT-01')\ndef test_it(): pass")
    said = result.stdout.str() + result.stderr.str()
    assert result.ret == 70
    assert said.count("No space left on device; what was written before it stays") == 1
    assert "Traceback" not in said
