"""Clusters made elsewhere: which parts of which files, plugins that give tokens, and proxies."""

from __future__ import annotations

import contextlib
import http.server
import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from harness.cluster.external import external
from harness.cluster.kind import tools
from harness.errors import EnvironmentLacks, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Write = Callable[..., Any]
V1 = "client.authentication.k8s.io/v1"


class Answers(http.server.BaseHTTPRequestHandler):
    """An API server, and a proxy before one: it notes what it is asked."""

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers.get("authorization")))  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def api() -> Iterator[Any]:
    server = http.server.HTTPServer(("127.0.0.1", 0), Answers)
    server.asked = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def url(api: Any) -> str:
    return f"http://127.0.0.1:{api.server_port}"


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a file of $KUBECONFIG; each call adds one."""
    files: list[str] = []
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)

    def write(
        *, context: str = "far", server: str = "", user: dict[str, Any] | None = None, **more: Any
    ) -> Path:
        path = tmp_path / f"{len(files)}" / "config"
        path.parent.mkdir()
        document: dict[str, Any] = {"apiVersion": "v1", "kind": "Config"}
        if context:
            document["contexts"] = [{"name": context, "context": {"cluster": "c", "user": "u"}}]
        if server:
            document["clusters"] = [{"name": "c", "cluster": {"server": server, **more}}]
        if user is not None:
            document["users"] = [{"name": "u", "user": user}]
        path.write_text(yaml.safe_dump(document))
        files.append(str(path))
        monkeypatch.setenv("KUBECONFIG", os.pathsep.join(files))
        return path

    return write


@pytest.fixture(params=["with kubectl", "without kubectl"])
def kubectl(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether there is a kubectl; a real one."""
    if request.param == "with kubectl":
        need_kubectl()
        return True

    def lacks(*_: object) -> str:
        raise EnvironmentLacks("kubectl 1.20 or newer is needed")

    monkeypatch.setattr(tools, "find", lacks)
    return False


def need_kubectl() -> None:
    try:
        tools.find("kubectl", (1, 20))
    except EnvironmentLacks as error:
        pytest.skip(str(error))


def plugin(folder: Path, text: str) -> dict[str, Any]:
    program = folder / "get-token"
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)
    return {"exec": {"apiVersion": V1, "command": str(program), "interactiveMode": "Never"}}


def asked_of(api: Any, context: str = "far") -> list[Any]:
    with contextlib.closing(external(context)) as cluster, cluster.api_http() as client:
        client.get("/readyz")
    # Some kubectls ask the server for its version before they choose one of their own.
    return [(path, token) for path, token in api.asked if path.endswith("/readyz")]


@pytest.mark.usefixtures("kubectl")
def test_a_context_is_found_in_one_file(write: Write, api: Any) -> None:
    path = write(server=url(api), user={"tokenFile": "token"})
    path.with_name("token").write_text("secret")
    assert asked_of(api) == [("/readyz", "Bearer secret")]


def test_files_are_merged_as_kubectl_does(
    write: Write, api: Any, tmp_path: Path, kubectl: bool
) -> None:
    write(context="other", server=url(api))
    write(context="", user={"token": "first"})
    write(server="http://127.0.0.1:1", user={"token": "later"})
    if not kubectl:
        with pytest.raises(EnvironmentLacks, match="only kubectl can merge them"):
            external("far")
        return
    os.environ["KUBECONFIG"] += f":{tmp_path / 'missing'}"
    assert asked_of(api) == [("/readyz", "Bearer first")]


@pytest.mark.usefixtures("kubectl")
def test_an_unknown_context_is_answered_with_those_there_are(write: Write) -> None:
    path = write(server="http://127.0.0.1:1", user={"token": "t"})
    with pytest.raises(UsageError) as unknown:
        external("near")
    assert str(unknown.value) == f"{path} has no context 'near'; it has: far"
    path.write_text("contexts: [")
    with pytest.raises(UsageError, match=f"no usable kubeconfig at {path}: "):
        external("near")


@pytest.mark.usefixtures("kubectl")
def test_a_context_without_user_says_so(write: Write) -> None:
    write(server="http://127.0.0.1:1")
    with pytest.raises(UsageError, match=r"cannot locate user u|context far has no user"):
        external("far")


def test_without_a_file_the_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/no/such/file")
    with pytest.raises(UsageError, match=r"no kubeconfig at /no/such/file: set \$KUBECONFIG"):
        external("far")


def test_credentials_are_private_and_end_with_the_cluster(write: Write) -> None:
    write(server="http://127.0.0.1:1", user={"token": "secret"})
    cluster = external("far")
    assert cluster.kubeconfig.stat().st_mode & 0o777 == 0o600
    assert cluster.kubeconfig.parent.stat().st_mode & 0o777 == 0o700
    cluster.close()
    assert not cluster.kubeconfig.parent.exists()


@pytest.mark.usefixtures("kubectl")
def test_a_plugin_of_version_1_gives_the_token(write: Write, api: Any, tmp_path: Path) -> None:
    answer = f'{{"apiVersion": "{V1}", "kind": "ExecCredential", "status": {{"token": "made"}}}}'
    text = f'case "$KUBERNETES_EXEC_INFO" in *"{V1}\\""*) echo \'{answer}\';; *) exit 1;; esac'
    write(server=url(api), user=plugin(tmp_path, text))
    assert asked_of(api) == [("/readyz", "Bearer made")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("echo session expired >&2; exit 3", "ended with 3 (session expired): run it by hand"),
        ('echo \'{"status": {"clientCertificateData": "x"}}\'', "printed no status.token"),
        ("echo hello", "printed no status.token"),
    ],
)
def test_a_plugin_that_gives_no_token_is_named(
    write: Write, tmp_path: Path, text: str, said: str
) -> None:
    write(server="http://127.0.0.1:1", user=plugin(tmp_path, text))
    with pytest.raises(EnvironmentLacks) as lacking:
        external("far")
    assert f"context far: its user's plugin `{tmp_path / 'get-token'}` {said}" in str(lacking.value)


def test_a_plugin_that_is_not_there_is_told_with_its_hint(write: Write) -> None:
    exec_ = {"apiVersion": V1, "command": "no-such-plugin", "installHint": "get it so"}
    user = {"exec": exec_ | {"args": ["--client-secret=hush"]}}
    user["exec"]["interactiveMode"] = "Never"
    write(server="http://127.0.0.1:1", user=user)
    told = r"`no-such-plugin` cannot be run .*: get it so"  # and not its arguments
    with pytest.raises(EnvironmentLacks, match=told):
        external("far")


def test_what_the_client_does_not_heed_is_refused(write: Write) -> None:
    user = {"token": "t"}
    write(server="https://127.0.0.1:1", user=user, **{"proxy-url": "http://127.0.0.1:2"})
    with pytest.raises(EnvironmentLacks, match=r"proxy-url .* set HTTPS_PROXY"):
        external("far")


def test_proxies_of_the_environment_are_heeded(
    write: Write, api: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(server="http://far.invalid", user={"token": "t"})
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("HTTP_PROXY", url(api))
    assert asked_of(api) == [("http://far.invalid/readyz", "Bearer t")]
