"""
The program of a stock pod: the server, and the control port that runs cases against another.

`GET /ready`, and `POST /run` with `{"case": …, "target": "host:port"}`, answered with an empty body
when the case passed and with what was wrong when it did not.
"""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc

from harness.workload.control import WORKLOAD_PORT
from harness.workload.pods import HTTP_PORT
from suites.stock_grpc import cases, service


class _Control(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self._answer(200, "")

    def do_POST(self) -> None:
        order = json.loads(self.rfile.read(int(self.headers["content-length"])))
        try:
            cases.run(order["case"], order["target"])
        except grpc.RpcError as error:
            self._answer(200, f"{error.code()}: {error.details()}")
        except AssertionError as error:
            self._answer(200, str(error) or "an assertion without words")
        else:
            self._answer(200, "")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing of requests: the log is for what goes wrong."""

    def _answer(self, status: int, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> int:
    """Serve until killed."""
    server, _ = service.serve(HTTP_PORT)
    with ThreadingHTTPServer(("0.0.0.0", WORKLOAD_PORT), _Control) as control:
        control.serve_forever()
    server.stop(None)
    return 0


if __name__ == "__main__":
    sys.exit(main())
