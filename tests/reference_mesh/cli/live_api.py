"""
To the causes, what `FakeApi` is; behind it is a cluster.

Objects are changed on the server and put back at the end. What no server can be brought to say of
itself is put in its mouth by a front: an HTTP server between `refmesh` and the cluster, which
passes on all else.
"""

from __future__ import annotations

import contextlib
import copy
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from harness.waiting import until
from reference_mesh.cli.kubernetes import path
from reference_mesh.manifests import names
from tests.reference_mesh.cli.fake_api import PLURALS, listening
from tests.reference_mesh.cli.live import ASLEEP, IMAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from harness.cluster import Cluster

Object = dict[str, Any]

_OF_THE_SERVER = (
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "uid",
)


class LiveApi:
    """
    Objects of `manifest` by kind and name, and new ones. `undo` is what to do at the end.

    date, denied, refused, version: as of `FakeApi`; what the front says instead of the server.
    """

    def __init__(
        self, cluster: Cluster, manifest: Sequence[Object], folder: Path, undo: contextlib.ExitStack
    ) -> None:
        self.cluster = cluster
        self.kubeconfig = str(shutil.copy(cluster.kubeconfig, folder / "kubeconfig"))
        self.undo = undo
        self.date: str | None = None
        self.denied: set[tuple[str, str]] = set()
        self.refused: dict[str, str] = {}
        self.version: str | None = None
        self._places = {(one["kind"], one["metadata"]["name"]): place(one) for one in manifest}
        self._held: dict[str, tuple[Object, Object]] = {}
        self._http = undo.enter_context(cluster.api_http())

    def of(self, kind: str, name: str) -> Object:
        """An object of the mesh; what is changed in it is changed on the server by `write`."""
        address = self._places[kind, name]
        if address not in self._held:
            self._hold(address, self.get(address))
        return self._held[address][1]

    def remove(self, kind: str, name: str) -> None:
        """Delete an object of the mesh, until the end."""
        address = self._places[kind, name]
        whole = self.get(address)
        self.undo.callback(self._create, without_servers(whole))
        self.delete(address)

    def add(self, document: Object) -> Object:
        """Create an object, until the end; as `of` for what is changed in it later."""
        made = self._create(document)
        address = place(made)
        self.undo.callback(self.delete, address)
        return self._hold(address, made)

    def add_meshed(self, **spec: Any) -> Object:
        """A pod `shop/web-0` that the injector puts into the mesh, and whose proxy is ready."""
        address = place(self.add(pod({names.INJECT: "enabled"}, **spec)))
        until(
            lambda: self.get(address)["status"],
            what="pod shop/web-0 ready",
            holds=lambda status: any(
                one["type"] == "Ready" and one["status"] == "True"
                for one in status.get("conditions") or ()
            ),
            timeout_s=60,
        )
        return self._hold(address, self.get(address))

    def write(self) -> None:
        """Make the server's objects what the held ones became, from here on until the end."""
        for address, (before, after) in list(self._held.items()):
            if before != after:
                self._hold(address, after)
                # Of two in order: what waits for the pods of a Deployment comes after this.
                self.undo.callback(self.patch, address, difference(after, before))
                self.patch(address, difference(before, after))

    def patch(self, address: str, change: Object) -> None:
        """A JSON merge patch, as of an object's status."""
        kind = {"content-type": "application/merge-patch+json"}
        accepted(self._http.patch(address, content=json.dumps(change), headers=kind))

    def sign_in(self, account: Object) -> None:
        """From now on run `refmesh` as this service account."""
        made = accepted(self._http.post(f"{place(account)}/token", json={"spec": {}}))
        config = yaml.safe_load(Path(self.kubeconfig).read_text())
        for one in config["users"]:
            one["user"] = {"token": made["status"]["token"]}
        Path(self.kubeconfig).write_text(yaml.safe_dump(config))

    def get(self, address: str) -> Object:
        return accepted(self._http.get(address))

    def delete(self, address: str) -> None:
        """Delete an object, and wait until it is gone."""
        options = {"gracePeriodSeconds": 0, "propagationPolicy": "Background"}
        answer = self._http.request("DELETE", address, json=options)
        assert answer.is_success or answer.status_code == 404, answer.text
        until(
            lambda: self._http.get(address).status_code,
            what=f"{address} is gone",
            holds=lambda status: status == 404,
            timeout_s=60,
            interval_s=0.02,
        )

    def in_front(self, folder: Path) -> None:
        """From now on have `refmesh` speak to the front, if there is anything to say there."""
        if self.version or self.denied or self.refused or self.date is not None:
            kubeconfig = folder / "front"
            self.undo.enter_context(listening(self, kubeconfig))
            self.kubeconfig = str(kubeconfig)

    def answer(
        self, method: str, path: str, query: dict[str, str], body: bytes = b""
    ) -> tuple[int, Any]:
        """What the front says."""
        plural = path.rpartition("/")[2]
        if method == "POST" and plural in self.refused:
            return 403, {"kind": "Status", "code": 403, "message": self.refused[plural]}
        kind = {"content-type": "application/json"} if body else {}
        answer = self._http.request(method, path, params=query, content=body, headers=kind)
        if path == "/version" and self.version:
            return 200, {**answer.json(), "gitVersion": self.version}
        if method == "POST" and plural.endswith("accessreviews"):
            asked = json.loads(body)["spec"]["resourceAttributes"]
            if (asked["verb"], asked["resource"]) in self.denied:
                return 201, {**answer.json(), "status": {"allowed": False}}
        return answer.status_code, answer.text

    def _hold(self, address: str, found: Object) -> Object:
        self._held[address] = (found, copy.deepcopy(found))
        return self._held[address][1]

    def _create(self, document: Object) -> Object:
        """Again while a webhook fails: the API server may not have heard yet that it is mended."""
        collection = place(document).rpartition("/")[0]

        def answered() -> tuple[str, Any]:
            answer = self._http.post(collection, json=document)
            return answer.text if answer.is_server_error else "", answer

        what = f"the API server takes {document['kind']} {document['metadata']['name']}"
        return accepted(until(answered, what=what, holds=lambda told: not told[0], timeout_s=30)[1])


@contextlib.contextmanager
def broken(
    cluster: Cluster,
    manifest: Sequence[Object],
    folder: Path,
    act: Callable[[Any], object],
) -> Iterator[LiveApi]:
    """The cluster with one thing wrong, for the time of the block."""
    with contextlib.ExitStack() as undo:
        api = LiveApi(cluster, manifest, folder, undo)
        act(api)
        api.write()
        api.in_front(folder)
        yield api


def pod(annotations: dict[str, str] | None = None, **spec: Any) -> Object:
    """A pod `shop/web-0` that does nothing, until it is killed."""
    asleep = {"name": "app", "image": IMAGE, "command": ASLEEP}
    metadata = {"name": "web-0", "namespace": "shop", "labels": {"app": "web"}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**metadata, "annotations": annotations or {}},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [asleep], **spec},
    }


def place(document: Object) -> str:
    """Path of an object."""
    metadata, plural = document["metadata"], PLURALS[document["kind"]]
    return path(document["apiVersion"], plural, metadata.get("namespace"), metadata["name"])


def difference(before: Object, after: Object) -> Object:
    """The JSON merge patch that makes one object of the other."""
    changed: Object = {key: None for key in before if key not in after}
    for key, value in after.items():
        if key not in before:
            changed[key] = value
        elif isinstance(value, dict) and isinstance(before[key], dict):
            if below := difference(before[key], value):
                changed[key] = below
        elif value != before[key]:
            changed[key] = value
    return changed


def without_servers(whole: Object) -> Object:
    """An object as it can be created again."""
    metadata = {key: value for key, value in whole["metadata"].items() if key not in _OF_THE_SERVER}
    return {**{key: whole[key] for key in whole if key != "status"}, "metadata": metadata}


def accepted(answer: Any) -> Object:
    assert answer.is_success, answer.text
    return dict(answer.json())
