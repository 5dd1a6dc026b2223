"""
A run as a ConformanceReport, the YAML of the Gateway API's conformance programme.

The shape is theirs, the checks are ours: one profile per area of the catalogue, with the core and
extended checks that passed, failed, or were skipped. Everything skipped is named with its verdict,
and a claimed feature is listed only where a check of it has run and none has failed.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import yaml

from harness.record.model import CheckRecord, Level, Run, Verdict
from reports.view import AREAS, by_area

__all__ = ["conformance_report"]

_FAILED = (Verdict.FAIL, Verdict.ERROR, Verdict.INCONCLUSIVE, Verdict.KNOWN_FAIL)


def conformance_report(run: Run) -> str:
    """The report as YAML; the same text for the same run."""
    report: dict[str, Any] = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "ConformanceReport",
        "date": run.started,
        "implementation": {
            "organization": "",
            "project": run.mesh.name,
            "url": "",
            "version": run.mesh.version,
            "contact": [],
        },
        "mode": run.cluster.engine,
        "profiles": [
            {
                "name": f"MESHMARK-{area.key}",
                "summary": AREAS.get(area.key, area.key),
                "core": _part(area.records, (Level.CORE,)),
                "extended": _part(area.records, (Level.EXTENDED, Level.EXPERIMENTAL))
                | _features(run, area.records),
            }
            for area in by_area(run.checks)
        ],
        "succeededProvisionalTests": [],
    }
    return yaml.safe_dump(report, sort_keys=False, allow_unicode=True, width=100)


def _part(records: list[CheckRecord], levels: tuple[Level, ...]) -> dict[str, Any]:
    chosen = [record for record in records if record.level in levels]
    found = Counter(record.verdict for record in chosen)
    failed = [record.id for record in chosen if record.verdict in _FAILED]
    skipped = [
        f"{record.id} ({record.verdict})"
        for record in chosen
        if record.verdict not in (*_FAILED, Verdict.PASS)
    ]
    asked = found[Verdict.PASS] + len(failed)
    result = "success" if asked and not skipped else "partial"
    part: dict[str, Any] = {
        "result": "failure" if failed else result,
        "statistics": {
            "Passed": found[Verdict.PASS],
            "Failed": len(failed),
            "Skipped": len(skipped),
        },
    }
    if failed:
        part["failedTests"] = failed
    if skipped:
        part["skippedTests"] = skipped
    return part


def _features(run: Run, records: list[CheckRecord]) -> dict[str, Any]:
    """The features of these checks: supported where claimed and proven, else unsupported."""
    features = dict.fromkeys(record.feature for record in records if record.feature)
    proven = [
        feature
        for feature in features
        if feature in run.mesh.features and _proven(feature, records)
    ]
    return {
        "supportedFeatures": proven,
        "unsupportedFeatures": [one for one in features if one not in run.mesh.features],
    }


def _proven(feature: str, records: list[CheckRecord]) -> bool:
    verdicts = {record.verdict for record in records if record.feature == feature}
    return Verdict.PASS in verdicts and not verdicts & set(_FAILED)
