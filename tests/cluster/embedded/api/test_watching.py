"""Watches over HTTP send each change once, as lines of JSON."""

from __future__ import annotations

import asyncio
import json

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


class Watch:
    """An HTTP request of which the answer is read line by line, as it is sent."""

    def __init__(self, api, query, accept="*/*"):
        path, _, query = f"{CONFIG_MAPS}?watch=true&{query}".partition("?")
        self._scope = {
            "type": "http",
            "method": "GET",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(b"authorization", b"Bearer the-admin"), (b"accept", accept.encode())],
        }
        self._app = api.app
        self._sent = asyncio.Queue()
        self._gone = asyncio.Event()
        self.start = None

    async def __aenter__(self):
        self._task = asyncio.create_task(self._app(self._scope, self._receive, self._sent.put))
        self.start = await asyncio.wait_for(self._sent.get(), 5)
        return self

    async def __aexit__(self, *_):
        self._gone.set()
        await asyncio.wait_for(self._task, 5)

    async def _receive(self):
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def events(self):
        message = await asyncio.wait_for(self._sent.get(), 5)
        return [json.loads(line) for line in message["body"].splitlines()]


def told(events):
    return [(one["type"], one["object"]["metadata"]["name"]) for one in events]


def test_a_watch_sends_what_is_there_and_then_what_changes(api, make):
    api.post(CONFIG_MAPS, make.config_map("a"))

    async def run():
        async with Watch(api, "") as watch:
            assert told(await watch.events()) == [("ADDED", "a")]
            await api.asked("POST", CONFIG_MAPS, json=make.config_map("b"))
            assert told(await watch.events()) == [("ADDED", "b")]
            await api.asked("DELETE", f"{CONFIG_MAPS}/a")
            assert told(await watch.events()) == [("DELETED", "a")]
            return watch.start

    headers = dict(api.run(run())["headers"])
    assert headers[b"content-type"] == b"application/json"


def test_queued_changes_are_sent_in_one_write(api, make):
    version = api.get(CONFIG_MAPS)["metadata"]["resourceVersion"]
    for name in ("a", "b"):
        api.post(CONFIG_MAPS, make.config_map(name))

    async def run():
        async with Watch(api, f"resourceVersion={version}") as watch:
            return told(await watch.events())

    assert api.run(run()) == [("ADDED", "a"), ("ADDED", "b")]


def test_a_version_that_is_gone_is_an_event_and_no_http_error(api):
    async def run():
        async with Watch(api, "resourceVersion=999999") as watch:
            return watch.start["status"], await watch.events()

    code, ((event),) = api.run(run())
    assert code == 200
    assert event["type"] == "ERROR"
    assert (event["object"]["code"], event["object"]["reason"]) == (410, "Expired")


def test_a_watch_ends_when_its_time_is_over(api, monkeypatch):
    async def run():
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        async with Watch(api, "timeoutSeconds=10") as watch:
            monkeypatch.setattr(loop, "time", lambda began=began_s: began + 11)
            return await asyncio.wait_for(watch._sent.get(), 5)

    assert api.run(run()) == {"type": "http.response.body", "body": b"", "more_body": False}


def test_a_watch_of_a_custom_kind_ends_with_its_crd(api, make):
    crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    api.post(crds, make.widget_crd())

    async def run():
        watch = Watch(api, "")
        watch._scope["path"] = "/apis/example.com/v1/widgets"
        async with watch:
            await api.asked("DELETE", f"{crds}/widgets.example.com")
            return await asyncio.wait_for(watch._sent.get(), 5)

    assert api.run(run())["more_body"] is False


def test_a_watched_table_describes_its_columns_once(api, make):
    api.post(CONFIG_MAPS, make.config_map("a", k="v"))

    async def run():
        async with Watch(api, "", TABLE) as watch:
            (first,) = await watch.events()
            await api.asked("POST", CONFIG_MAPS, json=make.config_map("b"))
            (second,) = await watch.events()
            return first["object"], second["object"]

    first, second = api.run(run())
    assert [one["name"] for one in first["columnDefinitions"]] == ["Name", "Data", "Age"]
    assert first["rows"][0]["cells"][:2] == ["a", 1]
    assert second["columnDefinitions"] == []
    assert second["rows"][0]["cells"][:2] == ["b", 0]


def test_one_object_is_watched_by_its_path(api, make):
    for name in ("a", "b"):
        api.post(CONFIG_MAPS, make.config_map(name))

    async def run():
        watch = Watch(api, "")
        watch._scope["path"] = f"{CONFIG_MAPS}/b"
        async with watch:
            return told(await watch.events())

    assert api.run(run()) == [("ADDED", "b")]


def test_a_client_that_goes_leaves_nothing_behind(api):
    async def run():
        async with Watch(api, ""):
            assert len(api.store._shelf(("", "configmaps")).watchers) == 1

    api.run(run())
    assert api.store._shelf(("", "configmaps")).watchers == set()
