"""A container's environment, quantities and the downward API."""

from __future__ import annotations

from decimal import Decimal

import pytest

from harness.cluster.embedded.environment import (
    ConfigMissing,
    Sources,
    environment,
    expand,
    field,
    parse_quantity,
)
from harness.cluster.embedded.store import Store

POD = {
    "metadata": {
        "name": "a",
        "namespace": "default",
        "uid": "u",
        "labels": {"b": "2", "a": 'say "hi"'},
        "annotations": {"team/name": "blue"},
    },
    "spec": {"containers": [], "nodeName": "node"},
    "status": {"podIP": "10.244.0.9", "hostIP": "10.244.0.1"},
}


@pytest.fixture
def store() -> Store:
    store = Store()
    store.create(("", "namespaces"), {"metadata": {"name": "default"}})
    return store


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(A)-$(B)", "1-2"),
        ("$(MISSING)", "$(MISSING)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$A ${A}", "$A ${A}"),
    ],
)
def test_references_expand_as_the_kubelet_does(text: str, expected: str) -> None:
    assert expand(text, {"A": "1", "B": "2"}) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("250m", "0.25"),
        ("2", "2"),
        ("64Mi", str(64 << 20)),
        ("1k", "1000"),
        ("1e3", "1000"),
        ("1E", "1e18"),
        ("5e-1", "0.5"),
        (".5u", "5e-7"),
    ],
)
def test_quantities(text: str, expected: str) -> None:
    assert parse_quantity(text) == Decimal(expected)


@pytest.mark.parametrize("text", ["", "abc", "1.2.3", "1e999999999", "1Xi", "--1", "1MiB"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ConfigMissing, match="is not a quantity"):
        parse_quantity(text)


def test_fields_of_the_downward_api() -> None:
    assert field(POD, {}, "metadata.annotations['team/name']") == "blue"
    assert field(POD, {}, "status.podIP") == "10.244.0.9"
    assert field(POD, {}, "metadata.labels") == 'a="say \\"hi\\""\nb="2"'
    with pytest.raises(ConfigMissing, match=r"spec\.secrets"):
        field(POD, {"name": "app"}, "spec.secrets")


def test_a_missing_config_map_is_named_unless_it_may_be_missing(store: Store) -> None:
    def container(*, optional: bool) -> dict[str, object]:
        reference = {"name": "settings", "key": "a", "optional": optional}
        return {"env": [{"name": "A", "valueFrom": {"configMapKeyRef": reference}}]}

    sources = Sources(store, "default")
    with pytest.raises(ConfigMissing, match='configmap "settings" not found in default'):
        environment(POD, container(optional=False), sources, {})

    assert "A" not in environment(POD, container(optional=True), sources, {})
    assert sources.used == {("configmaps", "settings")}


def test_services_of_the_namespace_are_announced(store: Store) -> None:
    service = {
        "metadata": {"name": "my-db", "namespace": "default"},
        "spec": {"clusterIP": "10.96.0.7", "ports": [{"name": "sql", "port": 5432}]},
    }
    store.create(("", "services"), service)
    env = environment(POD, {}, Sources(store, "default"), {})

    assert env["MY_DB_SERVICE_HOST"] == "10.96.0.7"
    assert env["MY_DB_SERVICE_PORT_SQL"] == "5432"


def test_limits_can_be_asked_for() -> None:
    container = {
        "name": "app",
        "resources": {"limits": {"cpu": "1500m", "memory": "64Mi"}},
        "env": [
            {"name": "CORES", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
            {
                "name": "MEMORY",
                "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}},
            },
        ],
    }
    store = Store()
    env = environment(POD, container, Sources(store, "default"), {})

    assert (env["CORES"], env["MEMORY"]) == ("2", "64")


@pytest.mark.parametrize("divisor", ["0", "1"])
def test_a_divisor_of_nothing_is_one(divisor: str) -> None:
    reference = {"resource": "limits.cpu", "divisor": divisor}
    container = {
        "name": "app",
        "resources": {"limits": {"cpu": "3"}},
        "env": [{"name": "CORES", "valueFrom": {"resourceFieldRef": reference}}],
    }

    assert environment(POD, container, Sources(Store(), "default"), {})["CORES"] == "3"
