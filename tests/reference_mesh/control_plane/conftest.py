"""
How the control plane is tested: YAML goes in at the snapshot's edge, messages come out.

`cluster` takes documents as a user writes them; what comes out is compiled by the very functions
that the services call, or read from the services over real sockets.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from reference_mesh.control_plane import fanout, following, settings, snapshot
from reference_mesh.manifests.values import Values

if TYPE_CHECKING:
    from collections.abc import Callable

_BY_KIND = {source.kind.name: source for source in following.SOURCES}


class FakeCluster:
    """Objects of a cluster, and everything that is watched of them."""

    def __init__(self) -> None:
        self.views = fanout.Views()
        self.snapshot = snapshot.Snapshot(self.views.touch)
        self.views.attach(self.snapshot)

    def apply(self, text: str) -> None:
        """Create or change objects."""
        for document in self._documents(text):
            self._sink(document).put(document)

    def delete(self, text: str) -> None:
        """Delete objects; only kind, name and namespace are looked at."""
        for document in self._documents(text):
            self._sink(document).drop(document)

    def reader(self) -> snapshot.Reader:
        """A reader of the present state."""
        return snapshot.Reader(self.snapshot)

    def _sink(self, document: dict[str, Any]) -> following.FactSink:
        return following.FactSink(_BY_KIND[document["kind"]], self.snapshot)

    def _documents(self, text: str) -> list[dict[str, Any]]:
        return [d for d in yaml.safe_load_all(textwrap.dedent(text)) if d]


SERVICE = """
kind: Service
metadata: {name: web, namespace: shop, annotations: {}}
spec:
  clusterIP: 10.96.0.7
  ports: [{name: http, port: 80, targetPort: 8080}]
"""

POD = """
kind: Pod
metadata:
  name: web-1
  namespace: shop
  labels: {app: web, linkerd.io/control-plane-ns: linkerd, pod-template-hash: abc}
  ownerReferences: [{kind: ReplicaSet, name: web-abc, controller: true}]
spec:
  nodeName: node-a
  serviceAccountName: web
  initContainers:
    - name: linkerd-proxy
      ports: [{name: linkerd-admin, containerPort: 4191}]
      env: [{name: LINKERD2_PROXY_INBOUND_LISTEN_ADDR, value: "0.0.0.0:4143"}]
      livenessProbe: {httpGet: {path: /live, port: 4191}}
      readinessProbe: {httpGet: {path: /ready, port: 4191}}
  containers:
    - name: app
      ports: [{name: http, containerPort: 8080}]
      readinessProbe: {httpGet: {path: "/healthz?full=1", port: http}}
status:
  phase: Running
  podIP: 10.244.0.9
  conditions: [{type: Ready, status: "True"}]
"""

SLICE = """
kind: EndpointSlice
metadata: {name: web-x, namespace: shop, labels: {kubernetes.io/service-name: web}}
ports: [{name: http, port: 8080}]
endpoints:
  - addresses: [10.244.0.9]
    conditions: {ready: true}
    zone: z1
    targetRef: {kind: Pod, name: web-1}
"""


@pytest.fixture
def chosen() -> settings.Settings:
    """Settings of an installation without values of the user."""
    return settings.from_values(Values())


@pytest.fixture
def cluster() -> FakeCluster:
    """A cluster without anything in it."""
    return FakeCluster()


@pytest.fixture
def shop(cluster: FakeCluster) -> FakeCluster:
    """A cluster with one meshed pod behind service `web`, in namespace `shop`."""
    for text in (SERVICE, POD, SLICE):
        cluster.apply(text)
    return cluster


@pytest.fixture
def changed() -> Callable[..., str]:
    """Make a variant of the shop's documents: `changed("pod", old, new)`."""
    texts = {"service": SERVICE, "pod": POD, "slice": SLICE}

    def make(which: str, *replacements: tuple[str, str]) -> str:
        text = texts[which]
        for old, new in replacements:
            assert old in text, old
            text = text.replace(old, new)
        return text

    return make
