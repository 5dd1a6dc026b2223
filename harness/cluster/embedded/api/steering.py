"""
What the harness asks that is no part of Kubernetes: images, and facts about processes.

PUT /meshmark/v1/images takes a JSON list of `Image`; GET /meshmark/v1/processes/NAMESPACE/POD gives
a JSON list of `ProcessFacts`. Both with the cluster's admin token only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from harness.cluster.embedded.api import asks
from harness.cluster.embedded.api.answers import json_answer, success
from harness.cluster.embedded.api.node import Image
from harness.cluster.embedded.api.tokens import ADMIN
from harness.cluster.embedded.status import BadRequest, Forbidden, NotFound

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from harness.cluster.embedded.api.node import NodeApi
    from harness.cluster.embedded.api.tokens import User

__all__ = ["Steering"]


class Steering:
    """Passes the harness' questions on to the node."""

    def __init__(self, node: NodeApi) -> None:
        self._node = node

    async def answer(self, request: Request, user: User, rest: list[str]) -> Response:
        """
        The answer at /meshmark/v1/REST.

        Raises:
            Forbidden: the token is not the admin's.
            NotFound: no such path or pod.
            BadRequest: the images are malformed; the message names the field.

        """
        if user is not ADMIN:
            raise Forbidden("only the cluster's administrator may use /meshmark/v1")
        match request.method, rest:
            case "PUT", ["images"]:
                body = await asks.limited_body(request)
                try:
                    images = msgspec.json.decode(body, type=list[Image])
                except (ValueError, RecursionError) as error:
                    raise BadRequest(f"the list of images cannot be read: {error}") from error
                await self._node.load_images(images)
                return json_answer(success({"kind": "images"}))
            case "GET", ["processes", namespace, pod]:
                return json_answer(list(await self._node.processes(namespace, pod)))
        raise NotFound
