"""Reflectors against an API server that answers by script, down to HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque

import httpx2
import pytest
from lightkube import AsyncClient
from lightkube.config.kubeconfig import KubeConfig

from reference_mesh.control_plane.kube import reflector as reflectors
from reference_mesh.control_plane.kube.client import Kind
from reference_mesh.control_plane.kube.reflector import Reflector, backoff_s

KUBECONFIG = {
    "clusters": [{"name": "c", "cluster": {"server": "http://api"}}],
    "users": [{"name": "u", "user": {"token": "t"}}],
    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    "current-context": "c",
}
PODS = Kind("", "v1", "Pod", "pods")


def pod(name, version):
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": "shop", "name": name, "resourceVersion": str(version)},
    }


class Script:
    """
    An API server of one kind.

    Each list takes the next entry of `lists`: objects and a version, or a status code. Each watch
    takes the next of `watches`: a status code, or events. An exception among them breaks the
    stream, and so does the end of the script: the last watch stays open and says nothing.
    """

    def __init__(self) -> None:
        self.lists = deque()
        self.watches = deque()
        self.versions = []
        self.done = asyncio.Event()

    async def answer(self, request):
        if request.url.params.get("watch") != "true":
            return self._list()
        self.versions.append(request.url.params.get("resourceVersion"))
        if not self.watches:
            self.done.set()
            await asyncio.Event().wait()
        events = self.watches.popleft()
        if isinstance(events, int):
            return httpx2.Response(events, json={"kind": "Status", "code": events})
        return httpx2.Response(200, content=self._events(events))

    def _list(self):
        answer = self.lists.popleft()
        if isinstance(answer, int):
            return httpx2.Response(answer, json={"kind": "Status", "code": answer})
        objects, version = answer
        metadata = {"resourceVersion": str(version)}
        return httpx2.Response(200, json={"items": objects, "metadata": metadata})

    async def _events(self, events):
        for event in events:
            if isinstance(event, Exception):
                raise event
            yield json.dumps({"type": event[0], "object": event[1]}).encode() + b"\n"


class Seen:
    """A sink that holds what there is."""

    def __init__(self) -> None:
        self.names = set()
        self.replaced = 0

    def replace(self, objects):
        self.names = {item["metadata"]["name"] for item in objects}
        self.replaced += 1

    def put(self, item):
        self.names.add(item["metadata"]["name"])

    def drop(self, item):
        self.names.discard(item["metadata"]["name"])


def follow(lists, watches):
    """Run a reflector until the script is played to its end."""

    async def scenario():
        script, seen = Script(), Seen()
        script.lists.extend(lists)
        script.watches.extend(watches)
        client = AsyncClient(
            KubeConfig.from_dict(KUBECONFIG), transport=httpx2.MockTransport(script.answer)
        )
        reflector = Reflector(client, PODS, seen)
        task = asyncio.ensure_future(reflector.run())
        async with asyncio.timeout(5):
            await script.done.wait()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        return script, seen, reflector

    return asyncio.run(scenario())


def test_list_then_watch():
    script, seen, reflector = follow(
        [([pod("a", 5), pod("b", 6)], 7)],
        [[("ADDED", pod("c", 8)), ("DELETED", pod("a", 9)), ("MODIFIED", pod("b", 10))]],
    )
    assert seen.names == {"b", "c"}
    assert reflector.synced.is_set()
    assert script.versions == ["7", "10"]


GONE = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}


@pytest.mark.parametrize("expired", [410, [("ERROR", GONE)]])
def test_expired_version_lists_again(caplog, expired):
    _, seen, _ = follow(
        [([pod("a", 5)], 5), ([pod("b", 9)], 9)],
        [expired],
    )
    assert caplog.text == ""
    assert seen.names == {"b"}
    assert seen.replaced == 2


@pytest.mark.parametrize("trouble", [httpx2.ReadError("reset"), httpx2.RemoteProtocolError("cut")])
def test_broken_watch_lists_again(trouble):
    _, seen, _ = follow(
        [([pod("a", 5)], 5), ([pod("a", 5), pod("b", 9)], 9)],
        [[("DELETED", pod("a", 6)), trouble]],
    )
    assert seen.names == {"a", "b"}


def test_watches_that_fail_at_once_are_asked_for_less_and_less(monkeypatch):
    paused = []
    monkeypatch.setattr(reflectors, "backoff_s", lambda failures: paused.append(failures) or 0)
    follow([([], 1)] * 4, [500, [httpx2.ReadError("reset")], 503])
    assert paused == [1, 2, 3]


def test_state_stays_while_the_api_is_away():
    _, seen, _ = follow([503, 500, ([pod("a", 5)], 5)], [])
    assert seen.names == {"a"}
    assert seen.replaced == 1


def test_kind_that_is_not_installed_counts_as_empty():
    _, seen, reflector = follow([404, ([pod("a", 5)], 5)], [])
    assert reflector.synced.is_set()
    assert seen.replaced == 2
    assert seen.names == {"a"}


def test_bookmarks_are_passed_over():
    bookmark = {"kind": "Pod", "metadata": {"resourceVersion": "12"}}
    script, seen, _ = follow([([pod("a", 5)], 5)], [[("BOOKMARK", bookmark)]])
    assert seen.names == {"a"}
    assert script.versions[-1] == "12"


def test_backoff_grows_and_is_capped():
    assert all(0 < backoff_s(0) <= 0.1 for _ in range(100))
    assert max(backoff_s(50) for _ in range(200)) <= 5.0
    assert max(backoff_s(50) for _ in range(200)) > 1.0
