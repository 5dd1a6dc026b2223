"""A container's log as it is written, until the container has ended."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx2

__all__ = ["FollowedLog"]


class FollowedLog:
    """
    The lines of one container's log, from the first that is kept; iterate it once.

    The lines end with the container.
    """

    def __init__(self, answer: httpx2.Response) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[str]:
        """
        The lines as they come.

        Raises:
            httpx2.HTTPError: the connection broke, was ended, or stayed silent for too long.

        """
        return self._answer.iter_lines()

    def end(self) -> None:
        """Break the connection, from any thread; who waits for a line hears of it at once."""
        stream = self._answer.extensions.get("network_stream")
        connection = stream and stream.get_extra_info("socket")
        if connection is not None:
            with contextlib.suppress(OSError):
                # Not through TLS, whose state belongs to the thread that reads.
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
