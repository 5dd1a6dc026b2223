"""
One cluster for all contract tests, and a namespace for each.

MESHMARK_CONTRACT_CLUSTER names the engine under test: `embedded` (the default), `kind`, or
`context:NAME` for any cluster of the kubeconfig that has the image `meshmark.dev/contract:1`.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from lightkube.codecs import from_dict
from lightkube.core.exceptions import ApiError
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Namespace, Pod, ServiceAccount

from harness.cluster import Image, embedded, kind
from harness.cluster.external import external
from harness.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from harness.cluster import Cluster

IMAGE = "meshmark.dev/contract:1"


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    engine, _, context = os.environ.get("MESHMARK_CONTRACT_CLUSTER", "embedded").partition(":")
    if engine == "context":
        with contextlib.closing(external(context)) as foreign:
            yield foreign
        return
    name = f"contract-{os.getpid()}"
    maker = kind if engine == "kind" else embedded
    with maker.start(name, images=[_image()]) as started:
        yield started


def _image() -> Image:
    """A system with a shell, Python and the tools of the network."""
    python = os.path.realpath(sys.base_prefix)
    binds = [] if python.startswith("/usr") else [(python, python)]
    env = {"PATH": f"{python}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    debian = Image(
        IMAGE,
        [],
        ["sh", "-c"],
        packages=["dash", "coreutils", "grep", "iproute2", "iptables", "nftables", "python3"],
    )
    return Image(IMAGE, binds, ["sh", "-c"], env, portable=debian)


@pytest.fixture
def bench(cluster: Cluster) -> Iterator[Bench]:
    client = cluster.client()
    made = client.create(Namespace(metadata=ObjectMeta(generateName="contract-")))
    name = made.metadata.name
    until(lambda: _has_account(client, name), what=f"default account of {name}", timeout_s=10)
    yield Bench(cluster, client, name)
    client.delete(Namespace, name)


class Bench:
    """A namespace, and short ways to do in it what the tests do."""

    def __init__(self, cluster: Cluster, client: Any, namespace: str) -> None:
        self.cluster = cluster
        self.client = client
        self.namespace = namespace

    def apply(self, text: str) -> None:
        """Create the objects of a YAML text."""
        for each in yaml.safe_load_all(text):
            self.client.create(from_dict(each), namespace=self.namespace)

    def pod(self, name: str, script: str, **more: Any) -> None:
        """Create a pod whose container `app` runs a shell script; `more` goes into its spec."""
        container = {"name": "app", "image": IMAGE, "command": ["sh", "-c"], "args": [script]}
        container |= more.pop("container", {})
        labels = more.pop("labels", {"app": name})
        annotations = more.pop("annotations", {})
        spec = {"terminationGracePeriodSeconds": 1, "containers": [container], **more}
        self.client.create(
            from_dict(
                {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "metadata": {"name": name, "labels": labels, "annotations": annotations},
                    "spec": spec,
                }
            ),
            namespace=self.namespace,
        )

    def show(self, name: str) -> Any:
        """The pod of this name; None when it is gone."""
        try:
            return self.client.get(Pod, name, namespace=self.namespace)
        except ApiError as error:
            if error.status.code == 404:
                return None
            raise

    def ready(self, *names: str) -> None:
        """Wait until these pods are ready."""
        for name in names:
            until(
                lambda name=name: conditions(self.show(name)).get("Ready"),
                what=f"pod {name} ready",
                timeout_s=20,
                interval_s=0.02,
                holds=lambda status: status == "True",
            )

    def phase(self, name: str, wanted: str) -> Any:
        """Wait for this phase of a pod, and return the pod."""
        until(
            lambda: self.show(name).status.phase,
            what=f"pod {name} {wanted}",
            timeout_s=20,
            interval_s=0.02,
            holds=lambda phase: phase == wanted,
        )
        return self.show(name)

    def output(self, name: str, script: str, **more: Any) -> str:
        """What a script prints in a pod that runs to its end."""
        self.pod(name, script, restartPolicy="Never", **more)
        pod = until(
            lambda: self.show(name),
            what=f"pod {name} over",
            timeout_s=20,
            interval_s=0.02,
            holds=lambda pod: pod.status.phase in {"Succeeded", "Failed"},
        )
        said = self.log(name)
        assert pod.status.phase == "Succeeded", said
        return said

    def log(self, name: str, container: str = "app") -> str:
        """The log of a container."""
        return self.cluster.logs(self.namespace, name, container)

    def says(self, name: str, wanted: str, container: str = "app") -> str:
        """Wait until the log of a container has these words, and return it."""
        return until(
            lambda: self.log(name, container),
            what=f"{wanted!r} in the log of {name}",
            timeout_s=20,
            interval_s=0.02,
            holds=lambda text: wanted in text,
        )

    def state(self, name: str, container: str = "app") -> Any:
        """Status of one container of a pod, init containers included, once it has one."""
        return until(
            lambda: _container_status(self.show(name), container),
            what=f"a status of {name} {container}",
            timeout_s=10,
            interval_s=0.01,
        )


def conditions(pod: Any) -> Mapping[str, str]:
    """Status by type of a pod's conditions."""
    listed: Sequence[Any] = (pod.status and pod.status.conditions) or ()
    return {each.type: each.status for each in listed}


def _container_status(pod: Any, container: str) -> Any:
    status = pod.status
    if status is None:
        return None
    found = [*(status.containerStatuses or ()), *(status.initContainerStatuses or ())]
    return next((each for each in found if each.name == container), None)


def _has_account(client: Any, namespace: str) -> bool:
    try:
        client.get(ServiceAccount, "default", namespace=namespace)
    except ApiError:
        return False
    return True
