"""Run folders: what is written, what survives, and how they are found again."""

from __future__ import annotations

import datetime as dt
import errno
import json
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from harness.errors import EnvironmentLacks, UsageError
from harness.record import folder as folder_module
from harness.record.find import find_run
from harness.record.fingerprint import fingerprint, sha256_of
from harness.record.folder import RunFolder, read_kill_matrix, read_run
from harness.record.histogram import Latencies
from harness.record.model import (
    CheckRecord,
    ClusterFacts,
    Evidence,
    Exit,
    Figure,
    KillMatrix,
    Level,
    MeshFacts,
    Mutant,
    Run,
    Verdict,
    exit_code,
    merged,
)

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = dt.datetime(2026, 11, 23, 4, 0, 0, tzinfo=dt.UTC)


def a_run(**changes: object) -> Run:
    run = Run(
        suite="conformance",
        mesh=MeshFacts(name="reference", version="0.1.0"),
        cluster=ClusterFacts(engine="embedded"),
        started="2026-11-23T04:00:00Z",
        command="meshmark run conformance",
        complete=True,
        checks=[
            CheckRecord(
                id="SP-01",
                level=Level.CORE,
                verdict=Verdict.PASS,
                value=0.897,
                unit="share",
                interval=(0.885, 0.908),
                n=4400,
                seconds=9.1,
                phases={"converge": 0.04},
            )
        ],
        figures=[
            Figure(
                name="proxy idle PSS",
                value=6.1,
                unit="MiB",
                interval=(6.0, 6.3),
                n=4,
                target=8,
                met=True,
            )
        ],
    )
    return msgspec.structs.replace(run, **changes)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path / "out", "conformance", "reference", NOW)


def test_run_json_has_the_fields_of_schema_1(folder: RunFolder) -> None:
    folder.write_run(a_run())
    saved = json.loads((folder.path / "run.json").read_text())
    assert saved["schema"] == 1
    assert saved["mesh"]["name"] == "reference"
    assert saved["cluster"] == {"engine": "embedded"}
    assert saved["checks"][0] | {"evidence": []} == saved["checks"][0]
    assert {"id", "level", "verdict", "value", "unit", "interval", "n", "seconds", "phases"} <= (
        saved["checks"][0].keys()
    )
    assert saved["figures"][0]["met"] is True
    assert read_run(folder.path) == a_run()


def test_a_run_is_found_by_path_id_part_and_latest(folder: RunFolder, tmp_path: Path) -> None:
    folder.write_run(a_run())
    out, real = tmp_path / "out", folder.path.resolve()
    assert folder.path.name.startswith("20261123T040000Z-conformance-reference-")
    for name in ("latest", folder.path.name, folder.path.name[-4:], str(folder.path)):
        assert find_run(name, out, tmp_path).resolve() == real
    assert find_run(str(folder.path / "run.json"), out, tmp_path).resolve() == real


def test_a_run_that_is_not_there_or_not_one_is_named(folder: RunFolder, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(UsageError, match="no run below"):
        find_run("latest", out, tmp_path)
    folder.write_run(a_run())
    RunFolder.create(out, "conformance", "reference", NOW).write_run(a_run())
    with pytest.raises(UsageError, match="2 runs match 'reference'"):
        find_run("reference", out, tmp_path)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('{"schema": 2}', "schema 2, and this meshmark reads schema 1"),
        ("[1]", "schema None"),
        ('{"schema": 1', "damaged"),
        ('{"schema": 1, "suite": 3}', r"Expected `str`, got `int` - at `\$.suite`"),
    ],
)
def test_another_schema_or_a_damaged_file_is_refused(
    tmp_path: Path, content: str, told: str
) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(UsageError, match=told):
        read_run(tmp_path)


def test_a_full_disk_leaves_what_was_written(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write_run(a_run())
    write_bytes: Callable[[Path, bytes], int] = Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        write_bytes(path, content[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(EnvironmentLacks, match=r"No space left on device; what was written"):
        folder.write_run(a_run(complete=False))
    assert read_run(folder.path).complete is True
    assert not list(folder.path.glob(".*.new"))


def test_long_evidence_moves_to_a_file_and_keeps_its_end(folder: RunFolder) -> None:
    long = Evidence(kind="proxy log", text="x" * 5000 + "the end")
    kept = folder.keep_evidence("RT-01", 2, long)
    assert kept.file == "logs/RT-01-02-proxy-log.txt"
    assert kept.text.endswith("the end")
    assert len(kept.text) == 4000
    assert (folder.path / kept.file).read_text() == long.text
    short = Evidence(kind="note", text="short")
    assert folder.keep_evidence("RT-01", 1, short) is short


def test_under_sudo_everything_belongs_to_the_caller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, tuple[int, int]] = {}

    def chown(path: Path, uid: int, gid: int, *, follow_symlinks: bool) -> None:
        given[Path(path).name] = (uid, gid)

    monkeypatch.setattr(folder_module.os, "geteuid", lambda: 0)
    monkeypatch.setattr(folder_module.os, "chown", chown)
    monkeypatch.setenv("SUDO_UID", "1000")
    monkeypatch.setenv("SUDO_GID", "1001")
    RunFolder.create(tmp_path / "out", "perf", "reference", NOW).write_run(a_run())
    assert {"out", "runs", "latest", "run.json", "logs", "histograms"} <= given.keys()
    assert set(given.values()) == {(1000, 1001)}


def test_a_kill_matrix_goes_there_and_back(folder: RunFolder) -> None:
    assert read_kill_matrix(folder.path) is None
    matrix = KillMatrix(
        mutants=[Mutant(id="m", defect="d", killed_by=["RT-01"])],
        checks={"RT-01": ["m"]},
        core_without_kill=[],
    )
    folder.write_kill_matrix(matrix)
    assert read_kill_matrix(folder.path) == matrix


def one(verdict: Verdict, level: Level = Level.CORE) -> CheckRecord:
    return CheckRecord(id="RT-01", level=level, verdict=verdict, seconds=1.0)


@pytest.mark.parametrize(
    ("run", "code"),
    [
        (a_run(), Exit.GOOD),
        (a_run(checks=[one(Verdict.FAIL)]), Exit.FAILED),
        (a_run(checks=[one(Verdict.FAIL, Level.EXTENDED)]), Exit.GOOD),
        (a_run(checks=[one(Verdict.ERROR)]), Exit.HARNESS),
        (a_run(checks=[one(Verdict.INCONCLUSIVE)]), Exit.INCONCLUSIVE),
        (a_run(checks=[one(Verdict.UNSUPPORTED), one(Verdict.PASS)]), Exit.GOOD),
        (a_run(checks=[one(Verdict.UNSUPPORTED), one(Verdict.NOT_RUN)]), Exit.INCONCLUSIVE),
        (a_run(checks=[one(Verdict.UNSUPPORTED), one(Verdict.ERROR)]), Exit.HARNESS),
        (a_run(checks=[]), Exit.INCONCLUSIVE),
        (a_run(complete=False), Exit.HARNESS),
        (a_run(figures=[Figure(name="f", value=2, unit="s", target=1, met=False)]), Exit.GOOD),
        (
            a_run(suite="perf", figures=[Figure(name="f", value=2, unit="s", target=1, met=False)]),
            Exit.FAILED,
        ),
        (
            a_run(suite="perf", figures=[Figure(name="f", value=2, unit="s", target=1)]),
            Exit.INCONCLUSIVE,
        ),
    ],
)
def test_a_run_earns_its_exit_code(run: Run, code: Exit) -> None:
    assert exit_code(run) is code


def test_a_strict_run_needs_its_extended_checks_too() -> None:
    run = a_run(checks=[one(Verdict.PASS), one(Verdict.FAIL, Level.EXTENDED)])
    assert exit_code(run, strict=True) is Exit.FAILED
    run = a_run(checks=[one(Verdict.PASS), one(Verdict.FAIL, Level.EXPERIMENTAL)])
    assert exit_code(run, strict=True) is Exit.GOOD


def test_merging_keeps_the_worst_and_adds_up() -> None:
    good = msgspec.structs.replace(one(Verdict.PASS), value=1.0, unit="s", phases={"measure": 1.0})
    bad = msgspec.structs.replace(one(Verdict.FAIL), phases={"measure": 2.0})
    record = merged([good, bad])
    assert (record.verdict, record.value, record.seconds) == (Verdict.FAIL, 1.0, 2.0)
    assert record.phases == {"measure": 3.0}


def test_histograms_go_there_and_back_and_merge(folder: RunFolder) -> None:
    first, second = Latencies(), Latencies()
    first.record_all(range(1_000_000, 1_100_000, 1000))
    second.record_all([5_000_000, -3, 10**12])
    folder.write_histogram("meshed", first)
    read = Latencies.decoded((folder.path / "histograms" / "meshed.hdr").read_bytes())
    assert read.count == 100
    assert read.quantile_ns(0.5) == pytest.approx(1_050_000, rel=2e-3)
    read.add(second)
    assert read.count == 103
    assert read.quantile_ns(1.0) == pytest.approx(60e9, rel=2e-3)
    with pytest.raises(UsageError, match="not an HdrHistogram"):
        Latencies.decoded(b"nonsense")


def test_a_percentile_curve_ends_where_the_sample_does() -> None:
    few, many = Latencies(), Latencies()
    few.record_all(range(1000, 11_000, 1000))
    many.record_all(range(1000, 1_001_000, 100))
    assert few.curve()[-1][0] < many.curve()[-1][0] < 1
    assert [value for _, value in many.curve()] == sorted(value for _, value in many.curve())
    assert Latencies().quantile_ns(0.5) == 0


def test_a_fingerprint_tells_the_machine_and_no_person(tmp_path: Path) -> None:
    binary = tmp_path / "proxy"
    binary.write_bytes(b"elf")
    found = fingerprint({"lane": "all"}, {"proxy": binary, "gone": tmp_path / "x"}, tmp_path)
    assert found["machine"]["cores"] >= 1
    assert found["machine"]["memory_mib"] > 0
    assert found["binaries"] == {"gone": "absent", "proxy": sha256_of(binary)}
    assert found["configuration"] == {"lane": "all"}
    assert found["software"]["commit"] == "unknown"
    assert str(Path.home()) not in json.dumps(found)
