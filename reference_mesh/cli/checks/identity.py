"""Whether the certificates of the mesh are good, and for how long."""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import time
from typing import TYPE_CHECKING

from reference_mesh.cli import installed
from reference_mesh.cli.checks import validity
from reference_mesh.cli.checks.model import Category, Check, Failed, Warned, pod_problem
from reference_mesh.cli.identity import certified
from reference_mesh.manifests import acceptance, certificates, components, names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptography import x509

    from reference_mesh.cli.checks.model import Facts

__all__ = ["categories"]

_LATE_RATIO = 0.15
"""Of a certificate's life that is left, below which its renewal is overdue."""

_ROTATE = "make a new one and run: refmesh upgrade --identity-… | kubectl apply -f -"


def categories(facts: Facts, *, proxy: bool) -> Iterator[Category]:
    """`linkerd-identity` and, with proxy, what the pods have of it."""
    anchors = functools.partial(_anchors, facts)
    issuer = functools.partial(_issuer, facts)
    yield Category(
        "linkerd-identity",
        (
            Check(
                description="certificate config is valid",
                run=functools.partial(_config_is_valid, facts),
                hint=_ROTATE,
                fatal=True,
            ),
            Check(
                description="trust anchors are using supported crypto algorithm",
                run=lambda: _supported("trust anchors", anchors()),
                hint=_ROTATE,
            ),
            Check(
                description="trust anchors are within their validity period",
                run=lambda: validity.within("trust anchor", anchors()),
                hint=_ROTATE,
            ),
            Check(
                description="trust anchors are valid for at least 60 days",
                run=lambda: validity.for_long("trust anchor", anchors()),
                hint=_ROTATE,
            ),
            Check(
                description="issuer cert is using supported crypto algorithm",
                run=lambda: _supported("issuer", issuer()[:1]),
                hint=_ROTATE,
            ),
            Check(
                description="issuer cert is within its validity period",
                run=lambda: validity.within("issuer", issuer()[:1]),
                hint=_ROTATE,
            ),
            Check(
                description="issuer cert is valid for at least 60 days",
                run=lambda: validity.for_long("issuer", issuer()[:1]),
                hint=_ROTATE,
            ),
            Check(
                description="issuer cert is issued by the trust anchor",
                run=functools.partial(_issued, facts),
                hint=_ROTATE,
            ),
        ),
    )
    if proxy:
        yield Category(
            "linkerd-identity-data-plane",
            (
                Check(
                    description="data plane proxies certificate match CA",
                    run=functools.partial(_pods_trust, facts),
                    hint="restart them, so that they get the current trust anchors",
                ),
                Check(
                    description="data plane proxies renew their certificates in time",
                    run=functools.partial(_pods_renew, facts),
                    hint="see: kubectl logs -c linkerd-proxy, and those of linkerd-identity",
                ),
            ),
        )


def _config_is_valid(facts: Facts) -> None:
    _anchors(facts)
    acceptance.check_key(_issuer_pair(facts), f"Secret {components.ISSUER_SECRET}")


def _issued(facts: Facts) -> None:
    issuer, *between = _issuer(facts)
    if not acceptance.chains_to(issuer, between, _anchors(facts)):
        raise Failed(
            f"the issuer in Secret {components.ISSUER_SECRET} is not signed by any of the trust "
            f"anchors in ConfigMap {names.TRUST_ROOTS}"
        )
    acceptance.check_authority(issuer, f"Secret {components.ISSUER_SECRET}")


def _anchors(facts: Facts) -> list[x509.Certificate]:
    pem = installed.trust_anchors(facts.kubernetes, facts.namespace)
    return acceptance.read_bundle(pem, f"ConfigMap {names.TRUST_ROOTS}")


def _issuer(facts: Facts) -> list[x509.Certificate]:
    pair = _issuer_pair(facts)
    return acceptance.read_bundle(pair.certificate_pem, f"Secret {components.ISSUER_SECRET}")


def _issuer_pair(facts: Facts) -> certificates.KeyPair:
    """The issuer, of either scheme."""
    data = installed.data_of(facts.control_plane("secrets", components.ISSUER_SECRET))
    for certificate, key in (("crt.pem", "key.pem"), ("tls.crt", "tls.key")):
        if certificate in data and key in data:
            return certificates.KeyPair(data[certificate], data[key])
    raise Failed(
        f"Secret {components.ISSUER_SECRET} has neither crt.pem and key.pem nor tls.crt and tls.key"
    )


def _supported(shown: str, chain: list[x509.Certificate]) -> None:
    for certificate in chain:
        acceptance.check_algorithm(certificate, shown)


def _pods_trust(facts: Facts) -> None:
    pem = installed.trust_anchors(facts.kubernetes, facts.namespace)
    current = hashlib.sha256(pem.encode()).hexdigest()
    stale = [
        f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
        for pod in facts.meshed_pods()
        if (pod["metadata"].get("annotations") or {}).get(names.TRUST_ROOT_SHA256) != current
    ]
    if stale:
        raise Warned(f"some pods do not have the current trust bundle: {', '.join(stale)}")


def _pods_renew(facts: Facts) -> None:
    """
    Proxies renew after 70 % of a certificate's life; one that has not by 85 % cannot.

    A pod that is not ready is told of elsewhere. A proxy that does not tell since when it has its
    certificate, as those of earlier releases, is late only when it is over.
    """
    now_s = time.time()
    over, late, untold = [], [], []
    for pod in facts.meshed_pods():
        if pod_problem(pod, names.PROXY_CONTAINER):
            continue
        issued_s, expires_s = certified(facts.kubernetes, pod)
        name = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
        if expires_s is None:
            untold.append(name)
            continue
        shown = f"{name} ({dt.datetime.fromtimestamp(expires_s, dt.UTC):%H:%M:%SZ})"
        if expires_s <= now_s:
            over.append(shown)
        elif issued_s and expires_s - now_s < _LATE_RATIO * (expires_s - issued_s):
            late.append(shown)
    if over:
        raise Failed(f"certificates are over: {', '.join(over)}")
    if late:
        raise Warned(f"certificates end soon and are not renewed: {', '.join(late)}")
    if untold:
        raise Warned(f"metrics of these do not tell when certificates end: {', '.join(untold)}")
