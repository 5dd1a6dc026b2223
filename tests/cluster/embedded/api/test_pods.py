"""Logs, proxies and the harness' own questions reach the node."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

PODS = "/api/v1/namespaces/default/pods"
SERVICES = "/api/v1/namespaces/default/services"


@pytest.fixture
def running(api, make):
    """A pod with an address."""
    body = make.pod()
    body["spec"]["containers"][0]["ports"] = [{"name": "http", "containerPort": 8080}]
    pod = api.post(PODS, body)
    status = {"phase": "Running", "podIP": "10.244.0.5"}
    api.store.update(("", "pods"), {**pod, "status": status}, subresource="status")
    return pod


def test_a_log_is_plain_text_as_the_node_gives_it(api, running):
    api.node.lines["app"] = [b"one\n", b"two\n"]
    path = f"{PODS}/p/log?tailLines=5&timestamps=true&previous=true&sinceSeconds=3"
    response = api.ask("GET", path)
    assert response.text == "one\ntwo\n"
    assert response.headers["content-type"].startswith("text/plain")
    ((*_, container, options),) = api.node.asked
    assert container == "app"
    assert (options.tail_lines, options.timestamps, options.previous) == (5, True, True)
    assert (options.since_s, options.follow) == (3, False)


def test_a_log_that_there_is_none_of_is_a_status(api, running):
    response = api.ask("GET", f"{PODS}/p/log")
    assert response.status_code == 400
    assert "is waiting to start" in response.json()["message"]
    assert api.ask("GET", f"{PODS}/absent/log").status_code == 404
    assert api.ask("GET", f"{PODS}/p/log?container=x").status_code == 400
    assert api.ask("GET", f"{PODS}/p/log?tailLines=x").status_code == 400


def test_a_silent_log_that_is_followed_begins_and_ends_with_its_client(api, running):
    ended = []

    async def silent(*_):
        try:
            await asyncio.Event().wait()
            yield b""
        finally:
            ended.append(True)

    async def run():
        sent, gone = asyncio.Queue(), asyncio.Event()

        async def receive():
            await gone.wait()
            return {"type": "http.disconnect"}

        scope = {
            "type": "http",
            "method": "GET",
            "path": f"{PODS}/p/log",
            "query_string": b"follow=true",
            "headers": [(b"authorization", b"Bearer the-admin")],
        }
        task = asyncio.create_task(api.app(scope, receive, sent.put))
        start = await asyncio.wait_for(sent.get(), 5)
        gone.set()
        await asyncio.wait_for(task, 5)
        return start["status"]

    api.node.logs = silent
    assert api.run(run()) == 200
    assert ended == [True]


def test_one_of_several_containers_must_be_named(api, make):
    body = make.pod()
    body["spec"]["containers"].append({"name": "other", "image": "x:1"})
    api.post(PODS, body)
    response = api.ask("GET", f"{PODS}/p/log")
    assert "a container name must be specified" in response.json()["message"]
    assert "[app other]" in response.json()["message"]


@contextlib.asynccontextmanager
async def echo(node, host, port):
    """A server that answers with what it was sent, head and body."""

    async def serve(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        body = b""
        if b"content-length:" in head.lower():
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
            body = await reader.readexactly(length)
        answer = head + body
        writer.write(b"HTTP/1.1 207 Odd\r\nx-a: b\r\nconnection: close\r\n\r\n" + answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    node.ports[host, port] = server.sockets[0].getsockname()[1]
    async with server:
        yield


def through(api, method, path, host="10.244.0.5", port=8080, **kwargs):
    async def run():
        async with echo(api.node, host, port):
            return await api.asked(method, path, **kwargs)

    return api.run(run())


def test_any_request_reaches_the_pod_as_it_was_but_without_the_credentials(api, running):
    path = f"{PODS}/p:8080/proxy/a%2Fb/c?q=1&r=%20"
    response = through(api, "POST", path, content=b"body", headers={"x-mine": "1"})
    assert (response.status_code, response.headers["x-a"]) == (207, "b")
    head, _, body = response.content.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /a%2Fb/c?q=1&r=%20 HTTP/1.1\r\n")
    assert b"x-mine: 1" in head
    assert b"host: 10.244.0.5:8080" in head.lower()
    assert b"the-admin" not in head
    assert body == b"body"


@pytest.mark.parametrize("name", ["p", "p:http", "http:p:8080"])
def test_a_port_is_named_or_numbered_or_the_first(api, running, name):
    response = through(api, "GET", f"{PODS}/{name}/proxy/")
    assert response.status_code == 207
    assert response.content.startswith(b"GET / HTTP/1.1")


def test_a_service_is_reached_at_its_address_or_at_an_endpoint(api, running):
    spec = {"ports": [{"port": 80, "targetPort": 8080, "name": "http"}], "clusterIP": "10.96.0.9"}
    api.post(SERVICES, {"metadata": {"name": "s"}, "spec": spec})
    assert through(api, "GET", f"{SERVICES}/s:80/proxy/x", "10.96.0.9", 80).status_code == 207
    spec = {**spec, "clusterIP": "None"}
    api.post(SERVICES, {"metadata": {"name": "h"}, "spec": spec})
    assert api.ask("GET", f"{SERVICES}/h:80/proxy/").status_code == 503
    endpoints = {
        "metadata": {"name": "h-1", "labels": {"kubernetes.io/service-name": "h"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.244.0.5"], "conditions": {"ready": True}}],
        "ports": [{"name": "http", "port": 8080}],
    }
    api.post("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", endpoints)
    assert through(api, "GET", f"{SERVICES}/h:http/proxy/").status_code == 207


@pytest.mark.parametrize(
    ("path", "code", "message"),
    [
        (f"{PODS}/p:9/proxy/", 502, "nobody listens at 10.244.0.5:9"),
        (f"{PODS}/p:nope/proxy/", 404, 'has no port "nope"'),
        (f"{PODS}/absent:80/proxy/", 404, 'pods "absent" not found'),
        (f"{PODS}/https:p:80/proxy/", 501, "plain HTTP"),
        (f"{PODS}/a:b:c:d/proxy/", 400, "is not of the form"),
    ],
)
def test_what_cannot_be_reached_is_a_status(api, running, path, code, message):
    response = api.ask("GET", path)
    assert response.status_code == code
    assert message in response.json()["message"]


def test_a_pod_without_address_is_unavailable(api, make):
    api.post(PODS, make.pod())
    assert api.ask("GET", f"{PODS}/p:80/proxy/").status_code == 503


def test_an_answer_that_is_not_http_is_a_bad_gateway(api, running):
    async def serve(reader, writer):
        writer.write(b"SSH-2.0-hello\r\n\r\n")
        await writer.drain()
        writer.close()

    async def run():
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        api.node.ports["10.244.0.5", 8080] = server.sockets[0].getsockname()[1]
        async with server:
            return await api.asked("GET", f"{PODS}/p/proxy/")

    response = api.run(run())
    assert response.status_code == 502
    assert "no valid answer" in response.json()["message"]


def test_the_harness_loads_images_and_reads_processes(api):
    image = {"reference": "a:1", "binds": [{"source": "/s", "target": "/t"}], "entrypoint": ["/t"]}
    assert api.ask("PUT", "/meshmark/v1/images", [image]).status_code == 200
    assert api.node.images[0].binds[0].source == "/s"
    assert api.get("/meshmark/v1/processes/default/p") == []
    assert api.node.asked == [("default", "p")]
    response = api.ask("PUT", "/meshmark/v1/images", [{"reference": 1}])
    assert response.status_code == 400
    assert "$[0].reference" in response.json()["message"]


def test_the_harness_door_is_for_the_admin_only(api):
    token, _ = api.tokens.issue("default", "default")
    headers = {"authorization": f"Bearer {token}"}
    assert api.ask("PUT", "/meshmark/v1/images", [], headers=headers).status_code == 403
