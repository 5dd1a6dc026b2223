"""lightkube, which the harness and the control plane use, finds what it expects."""

from __future__ import annotations

import contextlib
import socket
import ssl

import pytest
from lightkube import ApiError, Client, KubeConfig
from lightkube.codecs import load_all_yaml
from lightkube.generic_resource import create_namespaced_resource
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apiextensions_v1 import CustomResourceDefinition
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import ConfigMap, Pod, ServiceAccountToken
from lightkube.types import CascadeType, PatchType


@pytest.fixture
def client(served):
    with Client(KubeConfig.from_file(served.kubeconfig), field_manager="tests") as client:
        yield client


def config_map(name="c", **data):
    return ConfigMap(metadata=ObjectMeta(name=name, namespace="default"), data=data)


def test_objects(client):
    created = client.create(config_map(a="1"))
    created.data["a"] = "2"
    client.replace(created)
    with pytest.raises(ApiError) as error:
        client.replace(created)
    assert (error.value.status.code, error.value.status.reason) == (409, "Conflict")
    patched = client.patch(ConfigMap, "c", {"data": {"b": "3"}}, namespace="default")
    assert patched.data == {"a": "2", "b": "3"}
    assert client.apply(config_map("d", x="1")).data == {"x": "1"}
    assert [one.metadata.name for one in client.list(ConfigMap, chunk_size=1)] == ["c", "d"]
    client.delete(ConfigMap, "c", cascade=CascadeType.FOREGROUND)
    with pytest.raises(ApiError, match='configmaps "c" not found'):
        client.get(ConfigMap, "c")


def test_watching(client, served):
    client.create(config_map("a"))
    with contextlib.closing(client.watch(ConfigMap, namespace="default")) as events:
        assert next(events)[0] == "ADDED"
        changed = config_map("a", k="v").to_dict()
        served.on_loop(served.api.store.update, ("", "configmaps"), changed)
        type_, obj = next(events)
    assert (type_, obj.data) == ("MODIFIED", {"k": "v"})


def test_waiting_for_a_condition(client, served, make):
    client.create(Deployment.from_dict(make.deployment()))
    stored = client.get(Deployment, "web").to_dict()
    stored["status"] = {"conditions": [{"type": "Available", "status": "True"}]}
    served.on_loop(served.api.store.update, ("apps", "deployments"), stored, subresource="status")
    client.wait(Deployment, "web", for_conditions=["Available"])


def test_custom_resources(client, make):
    (crd,) = load_all_yaml(_yaml(make.widget_crd()))
    client.create(crd)
    client.wait(CustomResourceDefinition, "widgets.example.com", for_conditions=["Established"])
    widget = create_namespaced_resource("example.com", "v1", "Widget", "widgets")
    client.create(widget(metadata=ObjectMeta(name="w"), spec={"size": 1}))
    patched = client.patch(widget, "w", {"spec": {"size": 2}}, patch_type=PatchType.MERGE)
    assert patched.spec == {"size": 2, "color": "red"}


def _yaml(obj):
    import yaml

    return yaml.safe_dump(obj)


def test_logs_and_tokens(client, served, make):
    served.api.node.lines["app"] = [b"one\n", b"two\n"]
    client.create(Pod.from_dict(make.pod()))
    assert [line.strip() for line in client.log("p", follow=True)] == ["one", "two"]
    request = {"metadata": {"name": "default"}, "spec": {"audiences": ["a"]}}
    token = client.create(ServiceAccountToken.from_dict(request), "default", namespace="default")
    assert token.status.token.count(".") == 2


def test_an_endless_head_ends_the_connection(served):
    context = ssl.create_default_context(cafile=served.ca)
    host, port = served.url.removeprefix("https://").split(":")
    with (
        socket.create_connection((host, int(port)), timeout=2) as raw,
        context.wrap_socket(raw, server_hostname=host) as secured,
    ):
        secured.sendall(b"GET / HTTP/1.1\r\nx: ")
        with pytest.raises(OSError, match=r"."):
            _send_without_end(secured)


def _send_without_end(secured):
    for _ in range(1024):
        secured.sendall(b"x" * 65536)
