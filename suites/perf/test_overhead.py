"""
The seed's budget: what a mesh adds to a request, and what it takes of a machine.

Three arms stay up together: direct, direct again, meshed. Each round measures one block of each,
in random order, and what is compared is a block with its neighbours. How late this machine wakes
sleeping threads is measured before each round. What that comes to: `suites.perf.overhead`.
"""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING

import msgspec
import pytest

from harness.load import arms, wakeups
from harness.load.blocks import Block
from harness.mesh import resources
from harness.plugin import check
from harness.record.catalogue import Lane
from harness.record.model import Figure
from harness.stats import blocks
from harness.workload import pods
from suites.member import Member
from suites.perf.overhead import (
    ADDED_WAKEUPS,
    AGAIN,
    BUDGET_P99_MS,
    DIRECT,
    DIRECT_WAKEUPS,
    MESHED,
    RESOLUTION_MS,
    Load,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from hdrh.histogram import HdrHistogram

    from harness.cluster import ProcessFacts
    from harness.plugin import Check, Options, RunContext
    from suites.lab import Lab, Space

ROUNDS = 10
LONG_ROUNDS = 40
RATE_RPS = 500.0
CONNECTIONS = 16
BLOCK_S = 3.0
BODY_BYTES = 1024
BUDGET_BYTES = 20_000_000
WAKEUPS_S = 0.5
"""How long wake-ups are watched before each round."""


_MESHED_WAKEUPS = DIRECT_WAKEUPS + ADDED_WAKEUPS


@pytest.fixture(scope="session")
def load(lab_of: Callable[[Lane], Lab], run_options: Options, run_context: RunContext) -> Load:
    """One measurement, judged by several checks."""
    lab = lab_of(Lane.STEADY)
    lab.cluster.load_images([arms.image()])
    with lab.space("perf") as space, contextlib.ExitStack() as agents:
        # Arms differ in the mesh only: servers share a node, clients another where there is one.
        nodes = lab.cluster.nodes()
        server = space.deploy("server", node=nodes[0], wait=False)
        plain = space.deploy("plain", meshed=False, node=nodes[0], wait=False)
        for name in ("client", "naked"):
            _load_pod(space, name, meshed=name == "client", node=nodes[-1])
        server.ready(), plain.ready()
        client = agents.enter_context(arms.Agent(lab.cluster, space.name, "client"))
        naked = agents.enter_context(arms.Agent(lab.cluster, space.name, "naked"))
        chosen = [
            arms.Arm(DIRECT, naked.send, _block(plain)),
            arms.Arm(AGAIN, naked.send, _block(plain)),
            arms.Arm(MESHED, client.send, _block(server)),
        ]
        arms.measure(chosen, rounds=1, seed=run_options.seed)  # warms every arm
        before = _sidecars(space)
        is_here = lab.cluster.engine != "external"
        late_us = wakeups.histogram() if is_here else None
        results = arms.measure(
            chosen,
            rounds=LONG_ROUNDS if run_options.long else ROUNDS,
            seed=run_options.seed,
            before_round=functools.partial(_watch_wakeups, late_us),
        )
        found = Load(results, before, _sidecars(space), late_us)
    _keep_figures(found, run_context)
    return found


@check("PF-01")
def test_added_p99(check: Check, load: Load) -> None:
    """The median block adds at most the budget at the 99th percentile."""
    with check.phase("control"):
        failures = {arm: sum(r.failures for r in rs) for arm, rs in load.results.items()}
        check.control(not any(failures.values()), "every request was answered", seen=failures)
        noise_ms = load.noise_ms()
        check.control(
            noise_ms <= RESOLUTION_MS,
            f"direct differs from itself by at most {RESOLUTION_MS} ms",
            seen=f"{noise_ms:.3f} ms",
        )
    with check.phase("measure"):
        added = blocks.median(load.added_ms(MESHED, 99))
        check.measured(added.value, "ms", interval=added.interval, n=added.n)
        if load.is_within_budget() is None:
            meshed_ms, direct_ms = load.late_ms(_MESHED_WAKEUPS), load.late_ms(DIRECT_WAKEUPS)
            check.inconclusive(
                f"{added.value:.3f} ms were added at p99, of a budget of {BUDGET_P99_MS} ms; this "
                f"machine wakes threads so late that {meshed_ms} ms of meshed requests, and "
                f"{direct_ms} ms of direct ones, may be its own"
            )
        check.expect(
            added.value <= BUDGET_P99_MS,
            "added latency at p99",
            expected=f"at most {BUDGET_P99_MS} ms",
            seen=f"{added.value:.3f} ms",
        )


@check("PF-02")
def test_memory(check: Check, load: Load) -> None:
    """No sidecar takes more than the budget after the load."""
    with check.phase("measure"):
        if not load.after:
            check.inconclusive("there is no sidecar to look at")
        largest = max(facts.pss_bytes for facts in load.after.values())
        check.measured(largest / 1e6, "MB", n=len(load.after))
        check.expect(
            largest <= BUDGET_BYTES,
            "PSS of the largest sidecar",
            expected=f"at most {BUDGET_BYTES / 1e6:g} MB",
            seen=f"{largest / 1e6:.1f} MB",
        )


def _watch_wakeups(late_us: HdrHistogram | None) -> None:
    if late_us is not None:
        wakeups.watch(late_us, WAKEUPS_S)


def _block(server: Member) -> Block:
    return Block(
        url=server.url(),
        headers={"x-meshmark": f"size={BODY_BYTES}"},
        rate_rps=RATE_RPS,
        connections=CONNECTIONS,
        duration_s=BLOCK_S,
    )


def _load_pod(space: Space, name: str, *, meshed: bool, node: str) -> None:
    """A pod with the load agent; it takes the place of an application."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": space.name, "labels": {"app": name}},
        "spec": {
            "nodeName": node,
            "containers": [
                {
                    "name": "app",
                    "image": arms.IMAGE,
                    "imagePullPolicy": "IfNotPresent",
                    "securityContext": pods.CONFINED,
                }
            ],
        },
    }
    made = space.lab.mesh.enroll(pod) if meshed else pod
    resources.apply(space.lab.cluster.client(), [made])
    role = pods.Role(name=name, namespace=space.name)
    Member(space, role, 1, meshed=meshed).ready()


def _sidecars(space: Space) -> dict[str, ProcessFacts]:
    """The sidecar's process of every pod that has one, by pod name; none where none is shown."""
    sidecar = space.lab.mesh.sidecar
    if sidecar is None or space.lab.cluster.engine == "external":
        return {}
    found = {}
    for pod in ("client", "server"):
        for facts in space.lab.cluster.processes(space.name, pod):
            if facts.container == sidecar.container:
                found[pod] = facts
    return found


def _keep_figures(load: Load, context: RunContext) -> None:
    """Leave what the report shows: latency of every arm, what the mesh adds, CPU and memory."""
    for arm in load.results:
        for percentile in (50, 99):
            values = load.quantile_ms(arm, percentile)
            context.figure(_figure(f"{arm}: p{percentile}", values, "ms"))
    added = _figure("added by the mesh at p99", load.added_ms(MESHED, 99), "ms")
    met = load.is_within_budget()
    context.figure(msgspec.structs.replace(added, target=BUDGET_P99_MS, met=met))
    context.figure(_figure("direct against itself at p99", load.added_ms(AGAIN, 99), "ms"))
    for arm, wakeups_each in ((DIRECT, DIRECT_WAKEUPS), (MESHED, _MESHED_WAKEUPS)):
        late_ms = load.late_ms(wakeups_each)
        if late_ms is not None:
            name = f"late wake-ups of this machine: p99 of {arm} requests"
            context.figure(Figure(name=name, value=late_ms, unit="ms"))
    requests = sum(result.requests for result in load.results[MESHED])
    for pod, facts in load.after.items():
        cpu_us = (facts.cpu_s - load.before[pod].cpu_s) / max(requests, 1) * 1e6
        context.figure(
            Figure(name=f"{pod} proxy: CPU per request", value=cpu_us, unit="us", n=requests)
        )
        pss = facts.pss_bytes / 2**20
        context.figure(
            Figure(
                name=f"{pod} proxy: PSS under load",
                value=pss,
                unit="MiB",
                n=1,
                target=BUDGET_BYTES / 2**20,
                met=facts.pss_bytes <= BUDGET_BYTES,
            )
        )
        private = facts.private_dirty_bytes / 2**20
        context.figure(Figure(name=f"{pod} proxy: private dirty", value=private, unit="MiB", n=1))


def _figure(name: str, values: list[float], unit: str) -> Figure:
    estimate = blocks.median(values)
    return Figure(
        name=name,
        value=estimate.value,
        unit=unit,
        interval=estimate.interval,
        n=estimate.n,
        blocks=values,
    )
