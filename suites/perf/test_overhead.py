"""
The seed's budget: what a mesh adds to a request, and what it takes of a machine.

Three arms stay up together: direct, direct again, meshed. Each round measures one block of each,
in random order, and what is compared is a block with its neighbours. `direct again` differs from
`direct` in nothing, so their difference is what this machine could resolve today. A meshed request
wakes more processes than a direct one, so how late this machine wakes one is measured as well,
before each round. Where either is too much, the verdict is inconclusive.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import statistics
from typing import TYPE_CHECKING

import msgspec
import pytest
from hdrh.histogram import HdrHistogram

from harness.load import arms, wakeups
from harness.load.blocks import Block, BlockResult
from harness.mesh import resources
from harness.plugin import check
from harness.record.catalogue import Lane
from harness.record.model import Figure
from harness.stats import blocks
from harness.workload import pods

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.cluster import ProcessFacts
    from harness.plugin import Check, Options, RunContext
    from suites.lab import Lab, Space
    from suites.member import Member

ROUNDS = 10
LONG_ROUNDS = 40
RATE_RPS = 500.0
CONNECTIONS = 16
BLOCK_S = 3.0
BODY_BYTES = 1024
BUDGET_P99_MS = 1.0
BUDGET_BYTES = 20_000_000
RESOLUTION_MS = 0.3
"""Direct against itself may differ by so much before a difference of 1 ms means nothing."""

WAKEUPS_ADDED = 4
"""Two proxies are woken on the way there, and two on the way back."""

WAKEUPS_PERCENTILE = 100 - 1 / WAKEUPS_ADDED
"""Where one wake-up in 400 is late, one meshed request in 100 is late for it."""

WAKEUPS_S = 0.5
"""How long wake-ups are watched before each round: 500 of them on each processor."""

DIRECT, AGAIN, MESHED = "direct", "direct again", "meshed"


@dataclasses.dataclass(frozen=True)
class Load:
    """
    What the arms saw, and what the sidecars took.

    results: by arm, in the order of the rounds. before, after: the sidecars' processes by the name
    of their workload. wakeups_us: how late this machine woke sleeping threads, in microseconds;
    none where the load was sent elsewhere.
    """

    results: dict[str, list[BlockResult]]
    before: dict[str, ProcessFacts]
    after: dict[str, ProcessFacts]
    wakeups_us: HdrHistogram | None

    def quantile_ms(self, arm: str, percentile: float) -> list[float]:
        """The percentile of each block of an arm, from when requests were due."""
        histograms = (HdrHistogram.decode(r.latency_us) for r in self.results[arm])
        return [h.get_value_at_percentile(percentile) / 1000 for h in histograms]

    def added_ms(self, arm: str, percentile: float) -> list[float]:
        """How much more than `direct` each block of an arm showed, round by round."""
        own, direct = self.quantile_ms(arm, percentile), self.quantile_ms(DIRECT, percentile)
        return [slow - fast for slow, fast in zip(own, direct, strict=True)]

    def noise_ms(self) -> float:
        """How far the 99th percentile of `direct` lies from itself, as the median of the rounds."""
        return abs(statistics.median(self.added_ms(AGAIN, 99)))

    def wakeup_ms(self) -> float | None:
        """What this machine's wake-ups add to a meshed request at p99, if that is known."""
        late = self.wakeups_us
        return None if late is None else late.get_value_at_percentile(WAKEUPS_PERCENTILE) / 1000

    def is_resolved(self) -> bool:
        """Whether the machine was calm enough for a difference of the budget's size to be seen."""
        return max(self.noise_ms(), self.wakeup_ms() or 0.0) <= RESOLUTION_MS


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
        late_us = wakeups.histogram()
        results = arms.measure(
            chosen,
            rounds=LONG_ROUNDS if run_options.long else ROUNDS,
            seed=run_options.seed,
            before_round=functools.partial(wakeups.watch, late_us, WAKEUPS_S),
        )
        is_here = lab.cluster.engine != "external"
        found = Load(results, before, _sidecars(space), late_us if is_here else None)
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
        wakeup_ms = load.wakeup_ms()
        check.control(
            wakeup_ms is None or wakeup_ms <= RESOLUTION_MS,
            f"this machine wakes threads at most {RESOLUTION_MS} ms late at p{WAKEUPS_PERCENTILE}",
            seen=f"{wakeup_ms} ms",
        )
    with check.phase("measure"):
        added = blocks.median(load.added_ms(MESHED, 99))
        check.measured(added.value, "ms", interval=added.interval, n=added.n)
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
    met = added.value <= BUDGET_P99_MS if load.is_resolved() else None
    context.figure(msgspec.structs.replace(added, target=BUDGET_P99_MS, met=met))
    context.figure(_figure("direct against itself at p99", load.added_ms(AGAIN, 99), "ms"))
    wakeup_ms = load.wakeup_ms()
    if wakeup_ms is not None:
        name = f"lateness of this machine's wake-ups: p{WAKEUPS_PERCENTILE}"
        context.figure(Figure(name=name, value=wakeup_ms, unit="ms"))
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
