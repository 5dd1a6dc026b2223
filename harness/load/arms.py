"""
Arms, and the order in which they are measured.

A figure of one arm means nothing on a shared machine: load from elsewhere moves every latency by
more than a mesh adds. So arms stay up together and are measured in rounds: each round takes one
block of every arm, in an order drawn anew, and what is compared is a block with its neighbours.
Two arms are the same thing twice (`direct` and `direct again`); what they differ by is what the
machine could resolve that day.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import httpx2
import msgspec

from harness.cluster.python_image import python_image
from harness.errors import ClusterError
from harness.load.blocks import Block, BlockResult
from harness.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from harness.cluster import Cluster, Image

__all__ = ["AGENT_PORT", "IMAGE", "Agent", "Arm", "image", "measure"]

AGENT_PORT = 9900
IMAGE = "meshmark.dev/load:0.1.0"
_SLACK_S = 60.0
"""How long a block may take beyond its own length before the agent is called dead."""


class Agent:
    """The load agent in one client pod, over the API server's pod proxy; closed by its owner."""

    def __init__(self, cluster: Cluster, namespace: str, pod: str) -> None:
        self._http = cluster.pod_http(namespace, pod, AGENT_PORT)
        self._called = f"load agent in pod {namespace}/{pod}"

    def __enter__(self) -> Self:
        until(
            self._ready,
            what=f"{self._called} ready",
            holds=lambda trouble: not trouble,
            timeout_s=30.0,
            hint="Look at the pod's log: Locust could not be loaded, or the port is not reachable.",
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def send(self, block: Block) -> BlockResult:
        """
        Have the agent send `block`.

        Raises:
            ClusterError: the agent did not answer, or not with a result.

        """
        timeout_s = block.warmup_s + block.duration_s + _SLACK_S
        try:
            answer = self._http.post("block", content=msgspec.json.encode(block), timeout=timeout_s)
        except httpx2.HTTPError as error:
            raise ClusterError(f"{self._called}: {type(error).__name__}: {error}") from error
        if answer.status_code != 200:
            raise ClusterError(f"{self._called}: {answer.status_code}: {answer.text[:500]}")
        return msgspec.json.decode(answer.content, type=BlockResult)

    def _ready(self) -> str:
        try:
            answer = self._http.get("ready", timeout=2.0)
        except httpx2.HTTPError as error:
            return f"{type(error).__name__}: {error}"
        return "" if answer.status_code == 200 else f"{answer.status_code}: {answer.text[:200]}"


@dataclass(frozen=True, slots=True)
class Arm:
    """One way from a client to a server, under a name; `block` is what is sent on it."""

    name: str
    send: Callable[[Block], BlockResult]
    block: Block


def measure(arms: Sequence[Arm], *, rounds: int, seed: int) -> dict[str, list[BlockResult]]:
    """
    One block of every arm in each of `rounds` rounds.

    Returns, by arm name, the blocks in the order of the rounds: the n-th blocks of all arms were
    measured next to each other.
    """
    order = random.Random(seed)  # noqa: S311 - an order, not a secret
    results: dict[str, list[BlockResult]] = {arm.name: [] for arm in arms}
    for _ in range(rounds):
        for arm in order.sample(arms, len(arms)):
            results[arm.name].append(arm.send(arm.block))
    return results


def image() -> Image:
    """The image of a load agent."""
    return python_image(IMAGE, "harness.load.agent", f"--port={AGENT_PORT}", lock="load")
