"""
Tokens of service accounts: JWTs signed with a key that lives as long as the cluster.

The claims are those of Kubernetes' bound tokens (KEP-1205), so that a reader such as a mesh's
identity service finds namespace, account and pod where it expects them. A token is refused when its
account or its pod is gone or has another uid, when it is expired, or when nobody of the audiences
asked for is in it.
"""

from __future__ import annotations

import base64
import binascii
import secrets
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

from harness.cluster.embedded.status import NotFound

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.cluster.embedded.store import Store

__all__ = ["ADMIN", "API_AUDIENCE", "SYSTEM", "Tokens", "User"]

API_AUDIENCE = "https://kubernetes.default.svc.cluster.local"
"""Audience of tokens that nobody named one for, and issuer of all."""

_SIGNATURE_HALF_BYTES = 32
_CLOCK = time.time


@dataclass(frozen=True, slots=True)
class User:
    """Who asks."""

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def info(self) -> dict[str, Any]:
        """The `UserInfo` object of reviews and admission."""
        info: dict[str, Any] = {"username": self.name, "groups": list(self.groups)}
        if self.uid:
            info["uid"] = self.uid
        if self.extra:
            info["extra"] = {key: list(values) for key, values in self.extra.items()}
        return info


ADMIN = User("kubernetes-admin", groups=("system:masters", "system:authenticated"))
SYSTEM = User("system:apiserver", groups=("system:masters",))
"""Controllers and the node agent, which write in process."""


class Tokens:
    """
    Issues and checks the bearer tokens of one cluster.

    `admin` is the secret of its kubeconfig and never changes while the cluster lives.
    """

    def __init__(self, store: Store, admin: str = "") -> None:
        self.admin = admin or secrets.token_urlsafe(32)
        self._store = store
        self._key = ec.generate_private_key(ec.SECP256R1())
        public = self._key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        digest = hashes.Hash(hashes.SHA256())
        digest.update(public)
        self._key_id = _encode(digest.finalize())

    def issue(
        self,
        namespace: str,
        account: str,
        *,
        audiences: Sequence[str] = (),
        expiry_s: int = 3600,
        pod: str = "",
    ) -> tuple[str, int]:
        """
        A token of a service account, bound to a pod when one is named.

        Returns:
            The token, and when it ends to be valid, in seconds since the epoch.

        Raises:
            NotFound: there is no such account or pod.

        """
        uid = self._store.peek(("", "serviceaccounts"), namespace, account)["metadata"]["uid"]
        bound: dict[str, Any] = {
            "namespace": namespace,
            "serviceaccount": {"name": account, "uid": uid},
        }
        if pod:
            metadata = self._store.peek(("", "pods"), namespace, pod)["metadata"]
            bound["pod"] = {"name": pod, "uid": metadata["uid"]}
        now_s = int(_CLOCK())
        claims = {
            "aud": list(audiences) or [API_AUDIENCE],
            "exp": now_s + expiry_s,
            "iat": now_s,
            "iss": API_AUDIENCE,
            "jti": str(uuid.uuid4()),
            "kubernetes.io": bound,
            "nbf": now_s,
            "sub": f"system:serviceaccount:{namespace}:{account}",
        }
        return self._signed(claims), now_s + expiry_s

    def user(self, token: str, audiences: Sequence[str] = ()) -> tuple[User, list[str]] | None:
        """
        Who a token speaks for and the audiences that it shares with those asked for.

        audiences: of whoever was shown the token; the API server itself when empty.

        Returns None when the token is not valid here and now.
        """
        wanted = list(audiences) or [API_AUDIENCE]
        if secrets.compare_digest(token.encode(), self.admin.encode()):
            return ADMIN, wanted
        claims = self._claims(token)
        if claims is None:
            return None
        shared = [audience for audience in wanted if audience in claims["aud"]]
        if not shared or not claims["nbf"] <= _CLOCK() < claims["exp"]:
            return None
        user = self._bound_user(claims["kubernetes.io"])
        return None if user is None else (user, shared)

    def _signed(self, claims: Mapping[str, Any]) -> str:
        header = {"alg": "ES256", "kid": self._key_id}
        signed = ".".join(_encode(msgspec.json.encode(part)) for part in (header, claims))
        der = self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256()))
        halves = [
            number.to_bytes(_SIGNATURE_HALF_BYTES, "big")
            for number in utils.decode_dss_signature(der)
        ]
        return f"{signed}.{_encode(b''.join(halves))}"

    def _claims(self, token: str) -> dict[str, Any] | None:
        signed, _, signature = token.rpartition(".")
        try:
            raw = _decode(signature)
            r, s = raw[:_SIGNATURE_HALF_BYTES], raw[_SIGNATURE_HALF_BYTES:]
            der = utils.encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big"))
            self._key.public_key().verify(der, signed.encode(), ec.ECDSA(hashes.SHA256()))
            # What follows was signed here, so its shape is known.
            claims: dict[str, Any] = msgspec.json.decode(_decode(signed.partition(".")[2]))
        except (InvalidSignature, ValueError, binascii.Error):
            return None
        return claims

    def _bound_user(self, bound: Mapping[str, Any]) -> User | None:
        namespace, account = bound["namespace"], bound["serviceaccount"]
        if not self._lives("serviceaccounts", namespace, account):
            return None
        extra = {}
        if "pod" in bound:
            if not self._lives("pods", namespace, bound["pod"]):
                return None
            extra = {
                "authentication.kubernetes.io/pod-name": [bound["pod"]["name"]],
                "authentication.kubernetes.io/pod-uid": [bound["pod"]["uid"]],
            }
        return User(
            f"system:serviceaccount:{namespace}:{account['name']}",
            account["uid"],
            (
                "system:serviceaccounts",
                f"system:serviceaccounts:{namespace}",
                "system:authenticated",
            ),
            extra,
        )

    def _lives(self, plural: str, namespace: str, named: Mapping[str, str]) -> bool:
        try:
            obj = self._store.peek(("", plural), namespace, named["name"])
        except NotFound:
            return False
        return bool(obj["metadata"]["uid"] == named["uid"])


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
