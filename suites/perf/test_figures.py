"""What a mesh takes of a machine at rest and over time, and how soon a pod is part of it."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

from lightkube.resources.core_v1 import Pod

from harness.plugin import check
from harness.record.model import Figure
from harness.stats import blocks
from harness.workload.plans import Plan

if TYPE_CHECKING:
    from harness.cluster import ProcessFacts
    from harness.plugin import Check, RunContext
    from suites.lab import Lab
    from suites.member import Member

PODS = 15
READY_S = 1.0
IDLE_PSS_MIB = 8.0
IDLE_PRIVATE_MIB = 3.0
EARLY, LATE = 10_000, 100_000
CONTROL_PLANE_MIB = 300.0
GROWTH_MIB = 0.5
"""What an allocator may keep between two readings without anything growing."""

_MIB = 2**20


@check("PF-03")
def test_pods_are_ready_soon(check: Check, lab: Lab, run_context: RunContext) -> None:
    """From the request that creates a pod until the API says that it is ready."""
    with lab.space("pf-03") as space, check.phase("measure"):
        took_s = []
        for number in range(PODS):
            started_s = time.perf_counter()
            space.deploy(f"pod-{number}", service=False)
            took_s.append(time.perf_counter() - started_s)
        ready = blocks.median(took_s)
        check.measured(ready.value, "s", interval=ready.interval, n=ready.n)
        run_context.figure(
            Figure(
                name="meshed pod ready",
                value=ready.value,
                unit="s",
                interval=ready.interval,
                n=ready.n,
                target=READY_S,
                met=ready.value <= READY_S,
                blocks=took_s,
            )
        )
        check.expect(
            ready.value <= READY_S,
            "time until a meshed pod is ready",
            expected=f"at most {READY_S} s",
            seen=f"{ready.value:.2f} s",
        )


@check("PF-04")
def test_idle_memory(check: Check, lab: Lab, run_context: RunContext) -> None:
    """Both sidecars of a pair that has carried a few requests, at rest."""
    with lab.space("pf-04") as space:
        with check.phase("arrange"):
            server, client = space.deploy("server"), space.deploy("client")
            client.app.call(Plan(url=server.url(), count=100))
        with check.phase("measure"):
            found = [_sidecar(check, server), _sidecar(check, client)]
            pss = statistics.fmean(facts.pss_bytes for facts in found) / _MIB
            private = statistics.fmean(facts.private_dirty_bytes for facts in found) / _MIB
            check.measured(pss, "MiB", n=len(found))
            _figure(run_context, "proxy idle: PSS", pss, IDLE_PSS_MIB)
            _figure(run_context, "proxy idle: private dirty", private, IDLE_PRIVATE_MIB)
            check.expect(
                pss <= IDLE_PSS_MIB and private <= IDLE_PRIVATE_MIB,
                "memory of an idle sidecar",
                expected=f"at most {IDLE_PSS_MIB} MiB PSS, {IDLE_PRIVATE_MIB} MiB private dirty",
                seen=f"{pss:.2f} and {private:.2f} MiB",
            )


@check("PF-05")
def test_memory_is_flat(check: Check, lab: Lab, run_context: RunContext) -> None:
    """Ten times the requests leave the sidecars as large as they were."""
    with lab.space("pf-05") as space:
        with check.phase("arrange"):
            server, client = space.deploy("server"), space.deploy("client")
        with check.phase("measure"):
            early = _private_after(check, client, server, EARLY)
            late = _private_after(check, client, server, LATE - EARLY)
            grown = {name: (late[name] - early[name]) / _MIB for name in early}
            worst = max(grown.values())
            check.measured(worst, "MiB", n=LATE)
            _figure(run_context, f"proxy growth over {LATE:,} requests", worst, GROWTH_MIB)
            check.expect(
                worst <= GROWTH_MIB,
                f"private memory gained between {EARLY:,} and {LATE:,} requests",
                expected=f"at most {GROWTH_MIB} MiB",
                seen=grown,
            )


@check("PF-06")
def test_control_plane_memory(check: Check, lab: Lab, run_context: RunContext) -> None:
    """All processes of the control plane's pods together, while nothing asks it for anything."""
    with check.phase("measure"):
        pods = _control_plane_pods(lab)
        if not pods:
            check.inconclusive("there is no control plane to look at")
        found = [facts for pod in pods for facts in lab.cluster.processes(*pod)]
        check.control(len(found) >= len(pods), "every pod has a process", seen=len(found))
        total = sum(facts.pss_bytes for facts in found) / _MIB
        check.measured(total, "MiB", n=len(found))
        name = "control plane at rest: PSS"
        met = total <= CONTROL_PLANE_MIB
        run_context.figure(
            Figure(name=name, value=total, unit="MiB", n=1, target=CONTROL_PLANE_MIB, met=met)
        )
        check.expect(
            met,
            "memory of the control plane",
            expected=f"at most {CONTROL_PLANE_MIB} MiB PSS",
            seen={f"{facts.container}/{facts.name}": facts.pss_bytes // 2**20 for facts in found},
        )


def _control_plane_pods(lab: Lab) -> list[tuple[str, str]]:
    """Namespace and name of every pod that runs for the mesh itself."""
    return [
        (namespace, pod.metadata.name or "")
        for namespace in lab.mesh.control_plane()
        for pod in lab.cluster.client().list(Pod, namespace=namespace)
        if pod.metadata and pod.status and pod.status.phase == "Running"
    ]


def _private_after(check: Check, client: Member, server: Member, count: int) -> dict[str, int]:
    plan = Plan(url=server.url(), count=count, concurrency=16, brief=True)
    failed = sum(not outcome.ok for outcome in client.app.stream(plan))
    check.equal(failed, 0, "requests that failed")
    return {
        member.role.name: _sidecar(check, member).private_dirty_bytes for member in (client, server)
    }


def _sidecar(check: Check, member: Member) -> ProcessFacts:
    """The process of a member's sidecar."""
    lab = member.space.lab
    if lab.mesh.sidecar is None:
        check.inconclusive("there is no sidecar to look at")
    container = lab.mesh.sidecar.container if lab.mesh.sidecar else ""
    found = lab.cluster.processes(member.space.name, member.pod_names()[0])
    return next(facts for facts in found if facts.container == container)


def _figure(context: RunContext, name: str, value: float, target: float) -> None:
    context.figure(
        Figure(name=name, value=value, unit="MiB", n=2, target=target, met=value <= target)
    )
