"""Stock pods in a space, and asking one to run a case against another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx2

from harness.cluster.python_image import python_image
from harness.errors import ClusterError
from harness.mesh import resources
from harness.workload import pods
from harness.workload.control import WORKLOAD_PORT
from suites.member import Member

if TYPE_CHECKING:
    from harness.cluster import Image
    from suites.lab import Space

__all__ = ["deploy", "image", "run"]

_REFERENCE = "meshmark.dev/stock-grpc:0.1.0"
_LONGEST_S = 90.0


def image() -> Image:
    """The image of a stock pod."""
    return python_image(_REFERENCE, "suites.stock_grpc", besides=["harness"])


def deploy(space: Space, name: str, *, meshed: bool) -> Member:
    """Bring a stock pod up, with a service of its name; the caller waits for it to be ready."""
    role = pods.Role(name=name, namespace=space.name)
    manifest = pods.pod(role)
    manifest["spec"]["containers"][0] |= {"image": _REFERENCE, "args": []}
    made = [pods.service_account(role), pods.service(role)]
    made.append(space.lab.mesh.enroll(manifest) if meshed else manifest)
    resources.apply(space.lab.cluster.client(), made)
    return Member(space, role, 1, meshed=meshed)


def run(caller: Member, server: Member, case: str) -> str:
    """
    Run a case from `caller` against `server`; what was wrong, or an empty text.

    Raises:
        ClusterError: the caller's control port did not answer.

    """
    order = {"case": case, "target": f"{server.host}:{pods.HTTP_PORT}"}
    pod = caller.pod_names()[0]
    with caller.space.lab.cluster.pod_http(caller.space.name, pod, WORKLOAD_PORT) as http:
        try:
            answer = http.post("run", json=order, timeout=_LONGEST_S)
        except httpx2.HTTPError as error:
            raise ClusterError(f"{caller.space.name}/{pod}: case {case!r}: {error!r}") from error
    if answer.status_code != 200:
        raise ClusterError(
            f"{caller.space.name}/{pod}: case {case!r}: {answer.status_code} {answer.text[:300]}"
        )
    return answer.text
