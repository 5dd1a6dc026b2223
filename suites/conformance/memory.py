"""How much memory sidecars needed at their peak, and that it does not grow with what they carry."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from harness.plugin import Check
    from suites.member import Member

__all__ = ["MIB", "bounded"]

MIB = 1 << 20


@contextlib.contextmanager
def bounded(check: Check, members: Sequence[Member], most_bytes: int) -> Iterator[None]:
    """
    While the block runs, the peak memory of no member's sidecar may grow by more than this.

    A peak of long ago hides growth below it: the sidecars must have had nothing large to carry yet.
    """
    before = [_peak_bytes(member) for member in members]
    yield
    with check.phase("reconcile"):
        grown = [_peak_bytes(member) - was for member, was in zip(members, before, strict=True)]
        told = {each.role.name: more for each, more in zip(members, grown, strict=True)}
        check.evidence("growth of the sidecars' peak memory, bytes", told)
        check.measured(max(grown) / MIB, "MiB more at the peak of a sidecar", n=len(members))
        for member, more in zip(members, grown, strict=True):
            check.expect(
                more <= most_bytes,
                f"growth of the peak memory of the sidecar of {member.role.name}",
                expected=f"at most {most_bytes / MIB:g} MiB",
                seen=f"{more / MIB:.1f} MiB",
            )


def _peak_bytes(member: Member) -> int:
    """Most memory that the sidecar had resident since it started; 0 where there is none."""
    lab, (pod, *_) = member.space.lab, member.pod_names()
    if lab.mesh.sidecar is None:
        return 0
    facts = lab.cluster.processes(member.space.name, pod)
    return sum(
        each.high_water_bytes for each in facts if each.container == lab.mesh.sidecar.container
    )
