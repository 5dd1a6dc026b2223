"""
The engine: API server, controllers, node agent, service rules and name server in one event loop.

It runs as the first child of process 1, inside the cluster's namespaces; the one socket that leads
out of them, the API's listener, was opened before.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import resource
import socket
import sys
from pathlib import Path
from typing import Any

import uvicorn
import uvloop

from harness.cluster.embedded import pki, seed
from harness.cluster.embedded.agent import NODE_NAME, NodeAgent
from harness.cluster.embedded.api.app import build_app
from harness.cluster.embedded.api.http1 import LimitedHttp
from harness.cluster.embedded.api.operations import Operations
from harness.cluster.embedded.api.tokens import Tokens
from harness.cluster.embedded.bootstrap import API_ADDRESS, API_PORT, NODE_ADDRESS
from harness.cluster.embedded.cgroups import Cgroups, group_name
from harness.cluster.embedded.controllers import Controllers
from harness.cluster.embedded.dns import Names, serve_dns
from harness.cluster.embedded.processes import ProcessStarter
from harness.cluster.embedded.rootfs import STAGE
from harness.cluster.embedded.services import ServiceRules
from harness.cluster.embedded.store import Store
from harness.cluster.kubeconfig import kubeconfig

__all__ = ["run"]

_KEEP_ALIVE_S = 75


def run(config: dict[str, Any], listener: socket.socket, control: socket.socket) -> int:
    """
    Serve until killed.

    config: as `bootstrap.main` takes it; when everything answers, one line is written to
        `ready_fd`: `{"pid", "port", "kubeconfig"}`, the pid as it is outside.
    listener: bound outside of the cluster's network, listening.
    control: the spawner's socket.
    """
    # Each container costs two descriptors; a usual soft limit of 1024 ends with some 200 pods.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(config, listener, control))
    return 0


async def _serve(config: dict[str, Any], listener: socket.socket, control: socket.socket) -> None:
    identity = pki.make_identity(["127.0.0.1", "10.96.0.1", API_ADDRESS])
    store = Store()
    tokens = Tokens(store)
    async with asyncio.TaskGroup() as group:
        cgroups = Cgroups(group_name(config["pid"]))
        agent = NodeAgent(store, ProcessStarter(control), group, cgroups)
        operations = Operations(store, agent)
        Controllers(operations, group, node=NODE_NAME, zone=seed.ZONE, root_ca=identity.ca)
        rules = ServiceRules(store)
        agent.begin(tokens)
        seed.plant(store, config["name"])
        await rules.apply()
        group.create_task(rules.run())
        server = _server(build_app(operations, agent, tokens), identity)
        async with serve_dns(Names(store), NODE_ADDRESS):
            serving = group.create_task(server.serve([listener, _inside()]))
            # Until the listeners are taken, connections wait in their queues: nothing is lost.
            port = listener.getsockname()[1]
            _say_ready(config, port, kubeconfig(
                config["name"], f"https://127.0.0.1:{port}", identity.ca, tokens.admin
            ))  # fmt: skip
            await serving


def _server(app: Any, identity: pki.ServerIdentity) -> uvicorn.Server:
    # Within the cluster's own mount namespace: nobody outside can read it.
    folder = Path(STAGE, "pki")
    folder.mkdir(mode=0o700)
    (folder / "chain.pem").write_text(identity.chain)
    (folder / "key.pem").write_text(identity.key)
    return uvicorn.Server(uvicorn.Config(
        app,
        loop="none",
        http=LimitedHttp,
        ws="wsproto",
        lifespan="off",
        ssl_certfile=str(folder / "chain.pem"),
        ssl_keyfile=str(folder / "key.pem"),
        access_log=False,
        log_config=None,
        log_level="warning",
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
    ))  # fmt: skip


def _inside() -> socket.socket:
    """The API's listener for pods."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((API_ADDRESS, API_PORT))
    listener.listen(512)
    return listener


def _say_ready(config: dict[str, Any], port: int, text: str) -> None:
    ready = {"pid": config["pid"], "port": port, "kubeconfig": text}
    os.write(config["ready_fd"], json.dumps(ready).encode() + b"\n")
    os.close(config["ready_fd"])
