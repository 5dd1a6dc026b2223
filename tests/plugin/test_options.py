"""The command that repeats a run, as it is printed."""

from __future__ import annotations

import pytest

from harness.plugin.options import Options


@pytest.mark.parametrize(
    ("options", "command"),
    [
        (Options(), "meshmark run conformance -k RT-01 --keep"),
        (
            Options(suite="perf", cluster="kind", seed=3, strict=True),
            "meshmark run perf --cluster kind --seed 3 -k RT-01 --strict --keep",
        ),
        (
            Options(cluster="kind", pytest_options=("-x",)),
            "meshmark run conformance --cluster kind -k RT-01 --keep -- -x",
        ),
        (
            Options(
                cluster="kind",
                mesh="unmeshed",
                strict=True,
                pytest_kind=True,
                pytest_options=("--cluster-name", "mine"),
            ),
            "tox -e conformance-kind -- --mesh unmeshed -k RT-01 --keep -- --cluster-name mine",
        ),
        (Options(pytest_kind=True), "meshmark run conformance -k RT-01 --keep"),
    ],
)
def test_a_check_is_repeated_as_it_was_run(options: Options, command: str) -> None:
    assert options.command("RT-01", keep=True) == command
