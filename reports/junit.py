"""JUnit XML of a run, for CI systems: one test case per check of the catalogue."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from harness.record.model import CheckRecord, Run, Verdict

__all__ = ["junit_xml"]

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_SKIPPED = (
    Verdict.KNOWN_FAIL,
    Verdict.NOT_IMPLEMENTED,
    Verdict.NOT_RUN,
    Verdict.UNSUPPORTED,
)


def junit_xml(run: Run) -> bytes:
    """
    The run as JUnit XML; the same bytes for the same run.

    `fail` is a failure, `error` and `inconclusive` are errors, everything else that is no pass is
    skipped with its reason.
    """
    failures = sum(check.verdict is Verdict.FAIL for check in run.checks)
    errors = sum(check.verdict in (Verdict.ERROR, Verdict.INCONCLUSIVE) for check in run.checks)
    suite = ET.Element(
        "testsuite",
        name=f"meshmark {run.suite} {run.mesh.name}",
        timestamp=run.started.removesuffix("Z"),
        tests=str(len(run.checks)),
        failures=str(failures),
        errors=str(errors),
        skipped=str(sum(check.verdict in _SKIPPED for check in run.checks)),
        time=f"{sum(check.seconds for check in run.checks):.3f}",
    )
    for check in run.checks:
        suite.append(_case(run, check))
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    rendered: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return rendered + b"\n"


def _case(run: Run, check: CheckRecord) -> ET.Element:
    case = ET.Element(
        "testcase",
        classname=f"{run.suite}.{check.level}",
        name=_clean(f"{check.id} {check.title}".strip()),
        time=f"{check.seconds:.3f}",
    )
    if check.verdict in _SKIPPED:
        ET.SubElement(case, "skipped", message=_clean(f"{check.verdict}: {check.reason}"))
    elif check.verdict is not Verdict.PASS:
        kind = "failure" if check.verdict is Verdict.FAIL else "error"
        message = check.failure.message if check.failure else check.reason
        phase = f"{check.failure.phase}: " if check.failure else ""
        told = ET.SubElement(case, kind, type=check.verdict, message=_clean(phase + message))
        told.text = _clean(_details(check))
    return case


def _details(check: CheckRecord) -> str:
    failure = check.failure
    if failure is None:
        return check.reason
    lines = [f"phase: {failure.phase}", failure.message]
    if failure.expected or failure.seen:
        lines += [f"expected: {failure.expected}", f"seen: {failure.seen}"]
    if failure.rerun:
        lines.append(f"again: {failure.rerun}")
    return "\n".join(lines)


def _clean(text: str) -> str:
    """The text without what XML cannot carry."""
    return _NOT_XML.sub("\ufffd", text)
