"""A thread that reads one log until its container has ended."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import httpx2
from lightkube.core.exceptions import ApiError
from lightkube.resources.core_v1 import Pod

from harness.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from harness.cluster import Cluster
    from harness.cluster.followed import FollowedLog

__all__ = ["Follower"]

_AGAIN_S = 0.5
"""Between two tries to open a log whose connection broke, as when a kubelet restarts."""


class Follower:
    """
    Reads a container's log to its end, in a thread of its own that ends with it.

    take: gets the lines as they come; again from the first one when the connection broke.
    opened: set when nothing of the log can be lost any more, or it cannot be had at all.
    error: why the end of the log may be missing; empty while it is not known to be.
    """

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        pod: str,
        container: str,
        take: Callable[[Iterable[str]], None],
    ) -> None:
        self.name = f"{namespace}/{pod} {container}"
        self.namespace = namespace
        self.pod = pod
        self.opened = threading.Event()
        self.error = ""
        self._cluster = cluster
        self._container = container
        self._take = take
        self._log: FollowedLog | None = None
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"log {self.name}", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether the log may still grow."""
        return self._thread.is_alive()

    def end(self) -> None:
        """Stop reading; from any thread."""
        self._ending.set()
        log = self._log
        if log is not None:
            log.end()

    def join(self, timeout_s: float) -> None:
        """Wait for the thread's end."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            while not self._ending.is_set() and not self._is_whole():
                self._ending.wait(_AGAIN_S)
        finally:
            self.opened.set()

    def _is_whole(self) -> bool:
        """Read from the first line; whether that came to the end, or can never come to it."""
        try:
            with self._cluster.following(self.namespace, self.pod, self._container) as log:
                self._log = log
                self.opened.set()
                if not self._ending.is_set():  # else `end` may have come before there was a log
                    self._take(log)
        except httpx2.ReadTimeout:
            return False  # a container that lives and has nothing to say
        except (ClusterError, httpx2.HTTPError) as error:
            if self._ending.is_set():
                return True
            self.error = str(error) or type(error).__name__
            return self._is_gone()
        self.error = ""
        return True

    def _is_gone(self) -> bool:
        try:
            self._cluster.client().get(Pod, self.pod, namespace=self.namespace)
        except ApiError as error:
            return error.status.code == httpx2.codes.NOT_FOUND
        except httpx2.HTTPError:
            pass
        return False
