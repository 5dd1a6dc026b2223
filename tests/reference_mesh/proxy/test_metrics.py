"""The metrics of a live pair of proxies, held against the names and labels of linkerd2-proxy."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from harness.cluster import embedded
from harness.mesh import driver
from harness.mesh.intents import Authorize, Target
from harness.mesh.protocol import MeshOptions
from harness.waiting import until
from harness.workload import image as workload_image
from harness.workload.plans import Plan
from harness.workload.pods import HTTP_PORT
from suites.lab import Lab
from suites.logbook import Logbook

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Literal

    from suites.member import Member

    Protocols = tuple[Literal["h1", "h2", "grpc"], ...]

LIST = Path(__file__).with_name("metrics.txt")
SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? \S+$")
LABEL_KEY = re.compile(r'(\w+)="(?:[^"\\]|\\.)*"')
PROTOCOLS: Protocols = ("h1", "h2", "grpc")
DENIED = 403
HISTOGRAM_PARTS = ("_bucket", "_sum", "_count")


class Series(NamedTuple):
    """What a metric is, and the keys of its labels in their order."""

    kind: str
    name: str
    keys: str


def exposed(metrics: str) -> set[Series]:
    """Every kind of series in Prometheus text."""
    kinds: dict[str, str] = {}
    found = set()
    for line in metrics.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            kinds[name] = kind
        elif match := SAMPLE.match(line):
            name, keys = match[1], LABEL_KEY.findall(match[2] or "")
            for part in HISTOGRAM_PARTS:
                whole = name.removesuffix(part)
                if kinds.get(whole) == "histogram":
                    name, keys = whole, [key for key in keys if key != "le"]
            keys = ["dst_*" if _is_given(key) else key for key in keys]
            shown = ",".join(dict.fromkeys(keys)) or "-"
            found.add(Series(kinds.get(name, "untyped"), name, shown))
    return found


def _is_given(key: str) -> bool:
    """Whether the control plane chose this label of an endpoint."""
    return key.startswith("dst_") and key != "dst_zone_locality"


def expected(side: str) -> set[Series]:
    """What the list asks of one side."""
    lines = [line.split() for line in LIST.read_text().splitlines() if not line.startswith("#")]
    return {Series(*line[1:]) for line in lines if line[0] in {side, "both"}}


def test_a_dropped_label_and_another_type_are_seen() -> None:
    text = '# TYPE a_total counter\na_total{x="1",y="{2}"} 3\n'
    assert exposed(text) == {Series("counter", "a_total", "x,y")}
    assert exposed(text.replace('x="1",', "")) == {Series("counter", "a_total", "y")}
    assert exposed(text.replace("counter", "gauge")) == {Series("gauge", "a_total", "x,y")}
    text = '# TYPE b histogram\nb_bucket{x="",le="1"} 0\nb_sum{x=""} 0\nb_count{x=""} 0\n'
    assert exposed(text) == {Series("histogram", "b", "x")}
    text = '# TYPE c gauge\nc{a="",dst_pod="",dst_service="",dst_zone_locality=""} 0\nd 0\n'
    assert exposed(text) == {Series("gauge", "c", "a,dst_*,dst_zone_locality"),
                             Series("untyped", "d", "-")}  # fmt: skip


@pytest.mark.cluster
@pytest.mark.timeout(300, func_only=True)
def test_a_pair_exposes_all_that_linkerd_does() -> None:
    mesh = driver("reference")
    images = [workload_image.build(), *mesh.images(MeshOptions())]
    with (
        embedded.start(f"metrics-{os.getpid()}", images=images) as cluster,
        Logbook() as logbook,
    ):
        mesh.install(cluster, MeshOptions())
        with Lab(cluster, mesh, logbook=logbook).space("pair") as space:
            client, server = space.deploy("client", wait=False), space.deploy("server", wait=False)
            outsider = space.deploy("outsider", meshed=False)
            client.ready()
            server.ready()
            _call((client, outsider), server)
            _deny((client, outsider), server)
            _has_all(client, "client")
            client.delete()
            _has_all(server, "server")


def _call(callers: Iterable[Member], server: Member) -> None:
    for caller in callers:
        for protocol in PROTOCOLS:
            outcomes = caller.app.call(Plan(url=server.url(), protocol=protocol, count=5))
            assert all(outcome.ok for outcome in outcomes)


def _deny(callers: Iterable[Member], server: Member) -> None:
    """Admit nobody, and have each caller told so."""
    space = server.space
    target = Target(namespace=space.name, labels=server.role.selector, port=HTTP_PORT)
    space.apply(Authorize(name="nobody", target=target))
    for caller in callers:
        until(
            lambda caller=caller: caller.app.one(Plan(url=server.url())).status,
            what=f"{caller.role.name} denied",
            holds=lambda status: status == DENIED,
            timeout_s=30,
        )


def _has_all(member: Member, side: str) -> None:
    until(
        lambda: sorted(expected(side) - exposed(member.metrics())),
        what=f"the {side}'s proxy exposes all that the list has",
        holds=lambda missing: not missing,
        timeout_s=5,
    )
