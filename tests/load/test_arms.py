"""Arms are measured next to each other, in an order that the seed decides."""

from __future__ import annotations

from harness.load.arms import Arm, measure
from harness.load.blocks import Block, BlockResult


def arm(name: str, sent: list[str]) -> Arm:
    def send(_: Block) -> BlockResult:
        sent.append(name)
        return BlockResult(
            latency_us="", service_us="", lateness_us="", requests=len(sent), failures=0,
            cpu_s=0.0, elapsed_s=0.0,
        )  # fmt: skip

    return Arm(name, send, Block(url="http://server/"))


def order(seed: int) -> list[str]:
    sent: list[str] = []
    measure([arm(name, sent) for name in "abc"], rounds=4, seed=seed)
    return sent


def test_every_round_has_one_block_of_each_arm() -> None:
    sent = order(seed=1)
    assert [sorted(sent[start : start + 3]) for start in range(0, 12, 3)] == [list("abc")] * 4


def test_the_seed_decides_the_order() -> None:
    assert order(seed=1) == order(seed=1)
    assert len({tuple(order(seed)) for seed in range(20)}) > 1


def test_blocks_stay_in_the_order_of_the_rounds() -> None:
    sent: list[str] = []
    results = measure([arm("a", sent), arm("b", sent)], rounds=3, seed=5)
    for blocks in results.values():
        numbers = [block.requests for block in blocks]
        assert numbers == sorted(numbers)
        assert len(numbers) == 3
