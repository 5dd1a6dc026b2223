"""
The CLI's side of the Kubernetes API: plain JSON objects in, plain JSON objects out.

Every failure becomes a ClusterError of one line that names the server or the object.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import httpx2
from lightkube.config.client_adapter import Client, ConnectionParams
from lightkube.config.kubeconfig import KubeConfig
from lightkube.core.exceptions import ConfigError

from reference_mesh.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from reference_mesh.cli.options import Where

__all__ = ["Kubernetes", "connected", "path"]

_TIMEOUT_S = 30.0

_PREFIXES = {
    "v1": "/api/v1",
}


def path(api_version: str, plural: str, namespace: str | None = None, name: str = "") -> str:
    """Path of a collection or an object."""
    prefix = _PREFIXES.get(api_version, f"/apis/{api_version}")
    inside = f"/namespaces/{namespace}" if namespace else ""
    return f"{prefix}{inside}/{plural}" + (f"/{name}" if name else "")


class Kubernetes:
    """One cluster. Use `connected` to get one."""

    def __init__(self, client: httpx2.Client) -> None:
        self._client = client
        self.server = str(client.base_url)

    def get(self, address: str, **parameters: str) -> dict[str, Any]:
        """
        Read an object.

        Raises:
            ClusterError: unreachable, refused, or there is no such object.

        """
        found = self.find(address, **parameters)
        if found is None:
            raise ClusterError(f"{_shown(address)} not found on {self.server}")
        return found

    def find(self, address: str, **parameters: str) -> dict[str, Any] | None:
        """Read an object; None when there is none, or its kind is not served."""
        response = self.ask("GET", address, params=parameters)
        if response.status_code == 404:
            return None
        self._accept(response, address)
        return self._document(response, address)

    def items(self, address: str, **parameters: str) -> list[dict[str, Any]]:
        """Objects of a collection; none when its kind is not served."""
        result: list[dict[str, Any]] = []
        query = dict(parameters)
        while True:
            page = self.find(address, **query)
            if page is None:
                return result
            result += page.get("items") or []
            token = (page.get("metadata") or {}).get("continue")
            if not token:
                return result
            query["continue"] = token

    def create(
        self, address: str, document: Mapping[str, Any], **parameters: str
    ) -> dict[str, Any]:
        """Create an object, and return what the API made of it."""
        response = self.ask("POST", address, params=parameters, json=dict(document))
        self._accept(response, address)
        return self._document(response, address)

    def ask(
        self,
        method: str,
        address: str,
        *,
        params: Mapping[str, str] | None = None,
        json: Any = None,
    ) -> httpx2.Response:
        """
        Send any request and return the answer, whatever its status.

        Raises:
            ClusterError: the server did not answer, or there are no credentials for it.

        """
        try:
            return self._client.request(method, address, params=dict(params or {}), json=json)
        except httpx2.HTTPError as error:
            why = str(error) or type(error).__name__
            raise ClusterError(
                f"no answer from the Kubernetes API at {self.server}: {why}; "
                "check --kubeconfig and --context"
            ) from error
        except (ConfigError, KeyError, OSError) as error:  # of a plugin that gets the token
            raise ClusterError(
                f"no credentials for {self.server}: {error}; mend the `exec` of the kubeconfig's "
                "user, or take one with a token"
            ) from error

    def _document(self, response: httpx2.Response, address: str) -> dict[str, Any]:
        try:
            document = response.json()
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise ClusterError(
                f"{_shown(address)}: {self.server} answered {response.status_code} without an "
                "object; is it a Kubernetes API?"
            )
        return document

    def _accept(self, response: httpx2.Response, address: str) -> None:
        if response.is_success:
            return
        message = ""
        with contextlib.suppress(ValueError):
            body = response.json()
            message = str(body.get("message", "")) if isinstance(body, dict) else ""
        detail = message or f"HTTP {response.status_code}"
        raise ClusterError(f"{_shown(address)}: {detail}")


def _shown(address: str) -> str:
    """A path as people name it: `pods shop/web-0` for `/api/v1/namespaces/shop/pods/web-0`."""
    parts = address.strip("/").split("/")
    parts = parts[2:] if parts[0] == "api" else parts[3:]
    if parts[:1] == ["namespaces"] and len(parts) > 3:
        return f"{parts[2]} {parts[1]}/{'/'.join(parts[3:])}"
    return " ".join((parts[0], "/".join(parts[1:]))).strip() if parts else address


@contextlib.contextmanager
def connected(where: Where) -> Iterator[Kubernetes]:
    """
    Reach the cluster that the options name.

    Raises:
        ClusterError: there is no usable kubeconfig, or no such context in it.

    """
    try:
        if where.kubeconfig:
            config = KubeConfig.from_file(where.kubeconfig)
        else:
            config = KubeConfig.from_env()
        chosen = config.get(where.context)
        if chosen is None:
            raise ClusterError("the kubeconfig has no current context; name one with --context")
        parameters = ConnectionParams(timeout=httpx2.Timeout(_TIMEOUT_S))
        client = Client(chosen, parameters)
    except (ConfigError, OSError, KeyError, ValueError) as error:
        raise ClusterError(f"no usable kubeconfig: {error}; check --kubeconfig") from error
    with client:
        yield Kubernetes(client)
