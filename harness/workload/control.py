"""The control ports of workload and helper, and what can go wrong with them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import httpx2
import msgspec

from harness.errors import ClusterError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["CONTROL_PORTS", "HELPER_PORT", "SLACK_S", "WORKLOAD_PORT", "Control"]

WORKLOAD_PORT = 9900
"""Control port of the application container."""

HELPER_PORT = 9901
"""Control port of the helper container."""

CONTROL_PORTS = (WORKLOAD_PORT, HELPER_PORT)
"""Ports that no mesh may intercept and no policy may deny."""

SLACK_S = 20.0
"""Waiting beyond what a plan may take: for the API server's proxy on a machine with much to do."""


class Control:
    """
    A control port.

    open: makes an HTTP client whose base URL is the port; each request uses a client of its own,
        because a pod's port outlives neither the pod nor, in the API server's proxy, a restart.
    name: the pod, for error messages.

    Raises:
        ClusterError: the port did not answer, or answered with an error of its own.
        UsageError: the program refused the request, and says why.

    """

    def __init__(self, open: Callable[[], httpx2.Client], name: str) -> None:  # noqa: A002
        self._open = open
        self.name = name

    def request(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        timeout_s: float = SLACK_S,
        expect: tuple[int, ...] = (200, 201),
    ) -> bytes:
        """Send one request, JSON where it has a body, and give back the answer's body."""
        content = body if isinstance(body, bytes) else None
        if body is not None and content is None:
            content = msgspec.json.encode(body)
        with self._named(method, path), self._open() as client:
            response = client.request(method, path, content=_pieces(content), timeout=timeout_s)
            self._check(method, path, response.status_code, response.content, expect)
            return response.content

    def lines(
        self, method: str, path: str, *, body: bytes | None = None, timeout_s: float = SLACK_S
    ) -> Iterator[bytes]:
        """Send one request and hand out the lines of its answer as they come."""
        with (
            self._named(method, path),
            self._open() as client,
            client.stream(method, path, content=_pieces(body), timeout=timeout_s) as response,
        ):
            if response.status_code != 200:
                self._check(method, path, response.status_code, response.read(), (200,))
            yield from (line.encode() for line in response.iter_lines() if line)

    @contextlib.contextmanager
    def _named(self, method: str, path: str) -> Iterator[None]:
        try:
            yield
        except httpx2.HTTPError as error:
            raise ClusterError(
                f"{self.name}: {method} {path}: the control port did not answer: {error!r}; "
                "is the container running?"
            ) from error

    def _check(
        self, method: str, path: str, status: int, body: bytes, expect: tuple[int, ...]
    ) -> None:
        if status in expect:
            return
        said = body[:500].decode(errors="replace").strip()
        message = f"{self.name}: {method} {path}: {status} {said}"
        raise UsageError(message) if status in {400, 404} else ClusterError(message)


def _pieces(body: bytes | None) -> Iterable[bytes] | None:
    """
    The body such that it goes in chunks.

    With a length, the API server looks once more for its end after the pod has it all. A pod that
    has answered by then ends that look, and with it its answer.
    """
    return None if body is None else iter([body])
