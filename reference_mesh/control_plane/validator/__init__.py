"""
The validator: refuses policies and profiles that mean nothing, before they are stored.

What a schema can say is in the kinds' definitions; this is the rest: networks, references that
contradict each other, regular expressions, limits that exceed other limits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reference_mesh.control_plane.validator import policies, profiles
from reference_mesh.control_plane.validator.fields import Path

if TYPE_CHECKING:
    import contextlib
    import pathlib
    from collections.abc import Callable

    from starlette.applications import Starlette

    from reference_mesh.control_plane.webhook.admission import Review, Verdict

__all__ = ["app", "check", "serving"]

_CHECKS: dict[tuple[str, str], Callable[[dict[str, Any], Path], None]] = {
    ("policy.linkerd.io", "AuthorizationPolicy"): policies.authorization_policy,
    ("policy.linkerd.io", "HTTPLocalRateLimitPolicy"): policies.rate_limit,
    ("policy.linkerd.io", "MeshTLSAuthentication"): policies.mesh_tls_authentication,
    ("policy.linkerd.io", "NetworkAuthentication"): policies.network_authentication,
    ("policy.linkerd.io", "Server"): policies.server,
    ("policy.linkerd.io", "ServerAuthorization"): policies.server_authorization,
    ("linkerd.io", "ServiceProfile"): profiles.service_profile,
}


def check(group: str, kind: str, document: dict[str, Any]) -> None:
    """
    Accept an object, or say why not. Kinds that nothing is known of are accepted.

    Raises:
        InvalidInput: names the kind, the object, the field and what is wrong with it.

    """
    found = _CHECKS.get((group, kind))
    if found is None:
        return
    metadata = document.get("metadata") or {}
    found(document, Path(f"{kind} {metadata.get('namespace', '')}/{metadata.get('name', '')}"))


def app() -> Starlette:
    """Build the web application that the API server asks."""
    from reference_mesh.control_plane.webhook import admission  # noqa: PLC0415 - only servers pay

    async def decide(review: Review) -> Verdict:
        if review.operation in {"CREATE", "UPDATE"}:
            check(review.group, review.kind, review.document)
        return admission.Verdict()

    return admission.application(decide)


def serving(
    *, host: str, port: int, tls_dir: pathlib.Path
) -> contextlib.AbstractAsyncContextManager[int]:
    """Serve the validator within the block, over TLS; yields the port."""
    from reference_mesh.control_plane.webhook import serving as https  # noqa: PLC0415

    return https.serving(app(), host=host, port=port, tls_dir=tls_dir)
