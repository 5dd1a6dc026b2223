"""
Who a token belongs to, asked of the Kubernetes API by TokenReview.

Only tokens made for the mesh (audience `identity.l5d.io`) count: a pod's ordinary token, which it
may send to anybody, must not let that somebody pose as the pod.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reference_mesh.control_plane.kube import client as kube
from reference_mesh.errors import InvalidInput
from reference_mesh.manifests import names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lightkube import AsyncClient

__all__ = ["ApiReviewer", "account_of"]

_PREFIX = "system:serviceaccount:"


class ApiReviewer:
    """Reviews tokens through the Kubernetes API."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def review(self, token: str) -> tuple[str, str]:
        """
        Service account of a token, as (namespace, name).

        Raises:
            InvalidInput: the token is not authenticated, or not a service account's.
            httpx2.HTTPError: the API did not answer.

        """
        document = {"spec": {"token": token, "audiences": [names.IDENTITY_AUDIENCE]}}
        answer = await self._client.create(kube.TOKEN_REVIEWS.resource(document))
        return account_of(dict(answer).get("status") or {})


def account_of(status: Mapping[str, Any]) -> tuple[str, str]:
    """
    Service account in the status of a TokenReview, as (namespace, name).

    Raises:
        InvalidInput: the token is not authenticated for the mesh, or not a service account's.

    """
    if status.get("error"):
        raise _refused(f"is refused by the Kubernetes API: {str(status['error'])[:300]}")
    if not status.get("authenticated"):
        raise _refused("is not authenticated by the Kubernetes API")
    # An API server without audience support authenticates any token and names no audience.
    if names.IDENTITY_AUDIENCE not in (status.get("audiences") or ()):
        shown = ", ".join(status.get("audiences") or ()) or "none"
        raise _refused(f"was reviewed for audiences {shown}")
    user = str((status.get("user") or {}).get("username") or "")
    namespace, colon, account = user.removeprefix(_PREFIX).partition(":")
    if not user.startswith(_PREFIX) or not colon or not namespace or not account:
        raise _refused(f"belongs to {user!r}, which is not a service account")
    return namespace, account


def _refused(why: str) -> InvalidInput:
    return InvalidInput(
        f"token: {why}; it must be a service account's for audience {names.IDENTITY_AUDIENCE}, as "
        "the injector mounts it by volume linkerd-identity-token: create the pod again, so that it "
        "gets one"
    )
