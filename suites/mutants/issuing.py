"""Defects of the component that issues certificates."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

__all__ = ["DEFECTS"]


def _believe_tokens() -> None:
    """What a token says of itself is taken for true, whoever signed it and for whomever."""
    from reference_mesh.control_plane.identity import tokens  # noqa: PLC0415

    async def review(self: tokens.ApiReviewer, token: str) -> tuple[str, str]:
        claims = token.split(".")[1]
        claimed = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
        _, _, namespace, account = claimed["sub"].split(":")
        return namespace, account

    tokens.ApiReviewer.review = review  # type: ignore[method-assign]


def _lend_tokens() -> None:
    """A token is good for any identity, not only for its own."""
    from reference_mesh.control_plane.identity import certify  # noqa: PLC0415

    vars(certify)["token_matches"] = lambda *_: True


def _skip_requests() -> None:
    """Of a signing request only the key is looked at."""
    from reference_mesh.control_plane.identity import csr  # noqa: PLC0415

    def accepted_key(der: bytes, _identity: str) -> EllipticCurvePublicKey:
        return csr.key_fits(csr.parse(der))

    vars(csr)["accepted_key"] = accepted_key


def _second_name() -> None:
    """Every certificate names the administrator beside its workload."""
    from cryptography import x509  # noqa: PLC0415

    from reference_mesh.control_plane.identity import leaf  # noqa: PLC0415

    class SubjectAlternativeName(x509.SubjectAlternativeName):
        """The names asked for, and one more."""

        def __init__(self, names: list[x509.GeneralName]) -> None:
            super().__init__([*names, x509.DNSName("admin.linkerd.cluster.local")])

    class Certificates:
        """The library's module, but for the one class."""

        def __getattr__(self, name: str) -> object:
            return (
                SubjectAlternativeName if name == "SubjectAlternativeName" else getattr(x509, name)
            )

    vars(leaf)["x509"] = Certificates()


def _keep_first_issuer() -> None:
    """A replaced issuer is not noticed."""
    from reference_mesh.control_plane.identity import authority  # noqa: PLC0415

    changed = authority.Authority.secret_changed
    heard: list[authority.Authority] = []

    def secret_changed(self: authority.Authority, data: dict[str, str] | None) -> None:
        if self not in heard:
            heard.append(self)
            changed(self, data)

    authority.Authority.secret_changed = secret_changed  # type: ignore[method-assign]


DEFECTS: dict[str, Callable[[], None]] = {
    "believes-tokens": _believe_tokens,
    "lends-tokens": _lend_tokens,
    "skips-requests": _skip_requests,
    "second-name": _second_name,
    "keeps-first-issuer": _keep_first_issuer,
}
