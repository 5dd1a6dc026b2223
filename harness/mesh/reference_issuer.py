"""How the reference mesh, and Linkerd, issue certificates: component `linkerd-identity`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from lightkube.resources.core_v1 import Pod

from harness.mesh.authority import Authority
from harness.mesh.issuance import GrpcCall, Request, RotationStep

if TYPE_CHECKING:
    from harness.cluster import Cluster
    from harness.mesh.protocol import Resource

__all__ = ["ReferenceIssuer"]

_PORT = 8080
_CERTIFY = "io.linkerd.proxy.identity.Identity/Certify"
_CONTAINER = "identity"
_LABELS = {"linkerd.io/control-plane-component": "identity"}
_RSA_BITS = 2048


class ReferenceIssuer:
    """
    The identity component, its Secret with the issuer, and its ConfigMap with the trust anchors.

    authority: what certificates are made with now.
    """

    deployment = "linkerd-identity"
    token_audience = "identity.l5d.io"  # noqa: S105 - an audience, not a token

    def __init__(self, namespace: str, trust_domain: str) -> None:
        self.namespace = namespace
        self._name = f"identity.{namespace}.{trust_domain}"
        self._original = self.authority = Authority(self._name)

    def trust_anchors(self) -> str:
        """The anchor of the authority in use."""
        return self.authority.anchor_pem

    def certify(self, identity: str, token: str, request: Request = Request.PROPER) -> GrpcCall:
        """`Certify` with identity, token and signing request."""
        message = b"".join(
            _field(number, value)
            for number, value in enumerate(
                (identity.encode(), token.encode(), _signing_request(identity, request)), start=1
            )
        )
        host = f"{self.deployment}.{self.namespace}.svc.cluster.local:{_PORT}"
        return GrpcCall(url=f"http://{host}/{_CERTIFY}", message=message)

    def issued(self, cluster: Cluster, identity: str) -> int:
        """Lines of the log that tell of it; a restarted component begins at 0."""
        pods = cluster.client().list(Pod, namespace=self.namespace, labels={**_LABELS})
        names = [pod.metadata.name for pod in pods if pod.metadata and pod.metadata.name]
        lines = [
            line
            for name in names
            for line in cluster.logs(self.namespace, name, _CONTAINER).splitlines()
        ]
        return sum(
            "certificate issued" in line and f"identity={identity} " in line for line in lines
        )

    def replaced(self, lifetime_s: float) -> list[Resource]:
        """The Secret with a new issuer under the same anchor."""
        self.authority.renew_issuer(lifetime_s)
        return [self._secret()]

    def rotation(self) -> list[RotationStep]:
        """As Linkerd's documentation rotates: trust both, issue anew, trust the new one alone."""
        old, self.authority = self.authority, Authority(f"{self._name}.next")
        both = old.anchor_pem + self.authority.anchor_pem
        return [
            RotationStep(
                what="both anchors are trusted", resources=[self._config_map(both)], restart=True
            ),
            RotationStep(
                what="the new anchor's issuer signs", resources=[self._secret()], reissue=True
            ),
            RotationStep(
                what="the old anchor is not trusted any more",
                resources=[self._config_map(self.authority.anchor_pem)],
                restart=True,
            ),
        ]

    def original(self) -> list[Resource]:
        """ConfigMap and Secret of the installation, with a new issuer under its anchor."""
        self.authority = self._original
        self.authority.renew_issuer()
        return [self._config_map(self.authority.anchor_pem), self._secret()]

    def _config_map(self, anchors_pem: str) -> Resource:
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "linkerd-identity-trust-roots", "namespace": self.namespace},
            "data": {"ca-bundle.crt": anchors_pem},
        }

    def _secret(self) -> Resource:
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "linkerd-identity-issuer", "namespace": self.namespace},
            "stringData": {
                "crt.pem": self.authority.issuer_pem,
                "key.pem": self.authority.issuer_key_pem,
            },
        }


def _field(number: int, value: bytes) -> bytes:
    """A length-delimited field of a protobuf message; `number` is below 16."""
    length, rest = bytearray(), len(value)
    while rest > 0x7F:
        length.append(rest & 0x7F | 0x80)
        rest >>= 7
    length.append(rest)
    return bytes([number << 3 | 2, *length]) + value


def _signing_request(identity: str, request: Request) -> bytes:
    """DER of PKCS #10."""
    key = (
        rsa.generate_private_key(public_exponent=65537, key_size=_RSA_BITS)
        if request is Request.OTHER_KEY_TYPE
        else ec.generate_private_key(ec.SECP256R1())
    )
    other = f"other-{identity}"
    names = {Request.OTHER_NAME: [other], Request.SECOND_NAME: [identity, other]}
    wanted = [x509.DNSName(name) for name in names.get(request, [identity])]
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    builder = builder.add_extension(x509.SubjectAlternativeName(wanted), critical=True)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
