"""
Client and server of the stock `grpcio` package, for pods: what users run, not what we wrote.

`python -m suites.stock_grpc` serves the methods of `service` and, on the control port, runs the
cases of `cases` against another such pod. `peers` brings such pods up. Messages are plain bytes, so
nothing here needs generated code.
"""

from __future__ import annotations
