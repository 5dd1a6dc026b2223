from __future__ import annotations

import grpc
import pytest

from suites.stock_grpc import cases, service


@pytest.fixture(scope="module")
def target():
    server, port = service.serve(0)
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


@pytest.mark.parametrize("case", cases.CASES)
def test_a_case_passes_with_nothing_between(case, target):
    cases.run(case, target)


def test_a_case_says_what_is_wrong():
    with pytest.raises(grpc.RpcError):
        cases.run("metadata", "127.0.0.1:1")
