"""What is told on standard error while the YAML goes to standard output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reference_mesh.control_plane.injector import skipping, unheeded
from reference_mesh.manifests import names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reference_mesh.manifests.values import Values

__all__ = ["FAIL", "OK", "WARN", "Outcome", "injection", "uninjection", "values"]

OK = "\N{SQUARE ROOT}"
FAIL = "\N{MULTIPLICATION SIGN}"
WARN = "\N{DOUBLE EXCLAMATION MARK}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one object. skipped: a code of `skipping.REASONS`, or None."""

    kind: str
    name: str
    changed: bool
    skipped: str | None = None
    warnings: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        """The object as warnings name it."""
        return f"{self.kind}/{self.name}"


def injection(outcomes: Sequence[Outcome]) -> str:
    """Report of `inject`: first what to look at, then one line for each object."""
    warnings = _warnings(outcomes)
    lines = [f"{WARN} {warning}" for warning in warnings]
    if warnings:
        lines.append("")
    lines += [_line(outcome, "injected") for outcome in outcomes]
    return "\n" + "".join(f"{line}\n" for line in lines) + "\n"


def values(chosen: Values) -> str:
    """Report of `install` and `upgrade`: the values that nothing comes of."""
    return "".join(f"{WARN} {line}\n" for line in unheeded.of_values(chosen))


def uninjection(outcomes: Sequence[Outcome]) -> str:
    """Report of `uninject`: one line for each object."""
    return "\n" + "".join(f"{_line(outcome, 'uninjected')}\n" for outcome in outcomes) + "\n"


def _line(outcome: Outcome, done: str) -> str:
    if not outcome.kind:
        return 'document missing "kind" field, skipped'
    return f'{outcome.kind} "{outcome.name}" {done if outcome.changed else "skipped"}'


def _warnings(outcomes: Sequence[Outcome]) -> list[str]:
    def with_reason(*reasons: str) -> str:
        return ", ".join(o.shown for o in outcomes if o.skipped in reasons)

    result = []
    if affected := with_reason(skipping.HOST_NETWORK):
        result.append(f'"hostNetwork: true" detected in {affected}')
    if affected := with_reason(skipping.SIDECAR):
        result.append(f"known sidecar detected in {affected}")
    if affected := with_reason(skipping.DISABLED):
        result.append(f'"{names.INJECT}: disabled" annotation set on {affected}')
    if affected := with_reason(skipping.INVALID_AT_WORKLOAD):
        result.append(f'invalid value of the annotation "{names.INJECT}" on {affected}')
    if affected := with_reason(skipping.AUTOMOUNT):
        result.append(f'"automountServiceAccountToken: false" set on {affected}')
    if not any(outcome.changed for outcome in outcomes):
        result.append("no supported objects found")
    result += [f"{o.shown}: {warning}" for o in outcomes for warning in o.warnings]
    return result
