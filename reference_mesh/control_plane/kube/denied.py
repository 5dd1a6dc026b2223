"""
Calls that the Kubernetes API denies: each is logged in one way, and counted.

A denial is never a passing state of the cluster: a role that the mesh was installed with lacks a
rule, or somebody took it away. The component that was denied goes on with what it knew, looks well
and grows stale, so this line is an error even where the caller tries again.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import httpx2

from reference_mesh.control_plane.logfmt import Log

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Call", "Denials"]

_BY_AUTHORIZER = "forbidden: User "
"""What quotas, webhooks and namespaces that go away do not say: they answer with 403 too."""

_log = Log("kube")

_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


class Call(NamedTuple):
    """
    A request as the API's authorizer sees it; `namespace` and `name` may be empty.

    resource: a path, such as `/version`, where it is of none.
    """

    verb: str
    group: str
    resource: str
    namespace: str
    name: str

    @classmethod
    def of(cls, method: str, path: str, parameters: Mapping[str, str]) -> Call:
        """Read the path of a request and the parameters of a list or a watch."""
        parts = path.strip("/").split("/")
        if len(parts) <= (2 if parts[0] == "api" else 3):
            return cls(method.lower(), "", path, "", "")
        group, rest = ("", parts[2:]) if parts[0] == "api" else (parts[1], parts[3:])
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2:
            namespace, rest = rest[1], rest[2:]
        resource, name = rest[0], rest[1] if len(rest) > 1 else ""
        if method in _VERBS:
            return cls(_VERBS[method], group, resource, namespace, name)
        if name:
            return cls("get", group, resource, namespace, name)
        # One object followed by its name counts as that object: roles can name it.
        field, _, value = parameters.get("fieldSelector", "").partition("=")
        name = value.removeprefix("=") if field == "metadata.name" else ""
        verb = "watch" if parameters.get("watch") == "true" else "list"
        return cls(verb, group, resource, namespace, name)


class Denials:
    """Counts the denied calls of one client."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()

    def through(self, transport: httpx2.AsyncBaseTransport) -> httpx2.AsyncBaseTransport:
        """The transport, with every answer looked at."""
        return _Watched(transport, self)

    def metrics(self) -> str:
        """The counter, in Prometheus' text format."""
        name = "kubernetes_calls_denied_total"
        lines = [
            f"# HELP {name} Calls that no role of this component allows.",
            f"# TYPE {name} counter",
            *(
                f'{name}{{verb="{verb}",resource="{resource}"}} {count}'
                for (verb, resource), count in sorted(self.counts.items())
            ),
        ]
        return "\n".join(lines) + "\n"

    def note(self, call: Call) -> None:
        """Take a denial."""
        resource = f"{call.resource}.{call.group}" if call.group else call.resource
        self.counts[call.verb, resource] += 1
        _log.error(
            "denied by the Kubernetes API",
            verb=call.verb,
            resource=resource,
            namespace=call.namespace,
            name=call.name,
        )


class _Watched(httpx2.AsyncBaseTransport):
    def __init__(self, inner: httpx2.AsyncBaseTransport, denials: Denials) -> None:
        self._inner = inner
        self._denials = denials

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await self._inner.handle_async_request(request)
        if response.status_code == httpx2.codes.FORBIDDEN:
            await response.aread()
            if _BY_AUTHORIZER not in response.text:
                return response
            url = request.url
            self._denials.note(Call.of(request.method, url.path, dict(url.params)))
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()
