"""
The load agent: Locust in a client pod, told what to send over one small HTTP port.

`python -m harness.load.agent --port 9900`. `GET /ready` answers once Locust is loaded;
`POST /block` takes a `Block` as JSON, sends it, and answers with a `BlockResult`. One block at a
time: a second request waits for the first, for two blocks at once would measure each other.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

import gevent.monkey

gevent.monkey.patch_all()

import msgspec  # noqa: E402 - gevent must patch before anything opens a socket
from gevent.lock import BoundedSemaphore  # noqa: E402
from gevent.pywsgi import WSGIServer  # noqa: E402

from harness.load import open_loop  # noqa: E402
from harness.load.blocks import Block  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["main"]

_LONGEST_BODY_BYTES = 64 * 1024


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=9900)
    arguments = parser.parse_args()
    WSGIServer(("0.0.0.0", arguments.port), _application(), log=None).serve_forever()  # noqa: S104


def _application() -> Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]:
    one_at_a_time = BoundedSemaphore(1)

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        request = (environ["REQUEST_METHOD"], environ["PATH_INFO"])
        if request == ("GET", "/ready"):
            start_response("200 OK", [("content-type", "text/plain")])
            return [b"ready\n"]
        if request != ("POST", "/block"):
            start_response("404 Not Found", [("content-type", "text/plain")])
            return [b"POST /block or GET /ready\n"]
        try:
            block = msgspec.json.decode(environ["wsgi.input"].read(_LONGEST_BODY_BYTES), type=Block)
        except msgspec.DecodeError as error:
            start_response("400 Bad Request", [("content-type", "text/plain")])
            return [f"{error}\n".encode()]
        with one_at_a_time:
            result = open_loop.run(block)
        start_response("200 OK", [("content-type", "application/json")])
        return [msgspec.json.encode(result)]

    return answer


if __name__ == "__main__":
    main()
