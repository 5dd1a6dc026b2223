"""Namespaces of our own, and those of others."""

from __future__ import annotations

import httpx2
import pytest
from lightkube.core.exceptions import ApiError
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Namespace

from harness.errors import ClusterError
from suites.namespaces import own_namespace


class Client:
    """An API that knows nothing but namespaces."""

    def __init__(self, *there: str) -> None:
        self.held = {name: Namespace(metadata=ObjectMeta(name=name)) for name in there}

    def create(self, namespace: Namespace) -> None:
        name = namespace.metadata.name
        if name in self.held:
            status = {"code": 409, "message": f'namespaces "{name}" already exists'}
            request = httpx2.Request("POST", "http://api/api/v1/namespaces")
            raise ApiError(request, httpx2.Response(409, json=status, request=request))
        self.held[name] = namespace

    def get(self, _: type, name: str) -> Namespace:
        return self.held[name]

    def delete(self, _: type, name: str) -> None:
        del self.held[name]


def test_a_namespace_is_there_for_the_block() -> None:
    client = Client()
    with own_namespace(client, "world"):
        assert set(client.held) == {"world"}
    assert not client.held


def test_a_namespace_of_somebody_else_is_refused_and_stays() -> None:
    client = Client("world")
    with (
        pytest.raises(ClusterError, match="namespace world exists already"),
        own_namespace(client, "world"),
    ):
        pass
    assert set(client.held) == {"world"}


def test_one_that_was_kept_is_taken_over() -> None:
    client = Client()
    with own_namespace(client, "world", keep=True):
        pass
    with own_namespace(client, "world"):
        pass
    assert not client.held
