"""Whether the certificates of the mesh are good, and for how long."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import functools
import hashlib
from typing import TYPE_CHECKING

from reference_mesh.cli import installed
from reference_mesh.cli.checks.model import Category, Check, Failed, Warned
from reference_mesh.cli.kubernetes import path
from reference_mesh.manifests import certificates, components, names, webhooks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptography import x509

    from reference_mesh.cli.checks.model import Facts

__all__ = ["categories"]

_SOON = dt.timedelta(days=60)
_ROTATE = "make a new one and run: refmesh upgrade --identity-… | kubectl apply -f -"
_HOOKS = (
    ("proxy-injector", "mutatingwebhookconfigurations", webhooks.INJECTOR_CONFIG),
    ("sp-validator", "validatingwebhookconfigurations", webhooks.PROFILE_CONFIG),
    ("policy-validator", "validatingwebhookconfigurations", webhooks.POLICY_CONFIG),
)


def categories(facts: Facts, *, proxy: bool) -> Iterator[Category]:
    """`linkerd-identity`, the webhooks' certificates and, with proxy, the pods' anchors."""
    anchors = functools.partial(_anchors, facts)
    issuer = functools.partial(_issuer, facts)
    yield Category(
        "linkerd-identity",
        (
            Check(
                description="certificate config is valid",
                run=functools.partial(_config_is_valid, facts),
                fatal=True,
            ),
            Check(
                description="trust anchors are using supported crypto algorithm",
                run=lambda: _supported("trust anchors", anchors()),
                hint=_ROTATE,
            ),
            Check(
                description="trust anchors are within their validity period",
                run=lambda: _within("trust anchor", anchors()),
                hint=_ROTATE,
            ),
            Check(
                description="trust anchors are valid for at least 60 days",
                run=lambda: _for_long("trust anchor", anchors()),
                hint=_ROTATE,
            ),
            Check(
                description="issuer cert is using supported crypto algorithm",
                run=lambda: _supported("issuer", issuer()[:1]),
                hint=_ROTATE,
            ),
            Check(
                description="issuer cert is within its validity period",
                run=lambda: _within("issuer", issuer()[:1]),
                hint=_ROTATE,
            ),
            Check(
                description="issuer cert is valid for at least 60 days",
                run=lambda: _for_long("issuer", issuer()[:1]),
                hint=_ROTATE,
            ),
            Check(
                description="issuer cert is issued by the trust anchor",
                run=functools.partial(_issued, facts),
            ),
        ),
    )
    yield Category("linkerd-webhooks-and-apisvc-tls", tuple(_webhook_checks(facts)))
    if proxy:
        yield Category(
            "linkerd-identity-data-plane",
            (
                Check(
                    description="data plane proxies certificate match CA",
                    run=functools.partial(_pods_trust, facts),
                    hint="restart them, so that they get the current trust anchors",
                ),
            ),
        )


def _config_is_valid(facts: Facts) -> None:
    _anchors(facts)
    _issuer(facts)


def _issued(facts: Facts) -> None:
    bundle = installed.trust_anchors(facts.kubernetes, facts.namespace)
    certificates.check_issuer(bundle, _issuer_pair(facts))


def _anchors(facts: Facts) -> list[x509.Certificate]:
    pem = installed.trust_anchors(facts.kubernetes, facts.namespace)
    return certificates.read_bundle(pem, f"ConfigMap {names.TRUST_ROOTS}")


def _issuer(facts: Facts) -> list[x509.Certificate]:
    pair = _issuer_pair(facts)
    return certificates.read_bundle(pair.certificate_pem, f"Secret {components.ISSUER_SECRET}")


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
        certificates.check_algorithm(certificate, shown)


def _within(shown: str, chain: list[x509.Certificate]) -> None:
    now = dt.datetime.now(dt.UTC)
    for certificate in chain:
        if certificate.not_valid_before_utc > now:
            raise Failed(
                f"{shown} not valid before {certificate.not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ}"
            )
        if certificate.not_valid_after_utc < now:
            raise Failed(f"{shown} expired on {certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}")


def _for_long(shown: str, chain: list[x509.Certificate]) -> None:
    for certificate in chain:
        if certificate.not_valid_after_utc - dt.datetime.now(dt.UTC) < _SOON:
            raise Warned(
                f"{shown} will expire on {certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"
            )


def _webhook_checks(facts: Facts) -> Iterator[Check]:
    for shown, plural, name in _HOOKS:
        chain = functools.partial(_webhook_chain, facts, plural, name)
        yield Check(
            description=f"{shown} webhook has valid cert",
            run=functools.partial(_webhook_is_valid, facts, shown, chain),
            hint="apply the manifest again: refmesh upgrade | kubectl apply -f -",
        )
        yield Check(
            description=f"{shown} cert is valid for at least 60 days",
            run=functools.partial(_webhook_lasts, shown, chain),
        )


def _webhook_chain(facts: Facts, plural: str, name: str) -> list[x509.Certificate]:
    address = path("admissionregistration.k8s.io/v1", plural, name=name)
    configuration = facts.kubernetes.find(address)
    if configuration is None:
        raise Failed(f'{plural} "{name}" not found')
    try:
        bundle = configuration["webhooks"][0]["clientConfig"]["caBundle"]
        pem = base64.b64decode(bundle).decode()
    except (LookupError, TypeError, binascii.Error, UnicodeDecodeError) as error:
        raise Failed(f"{name}: its caBundle cannot be read") from error
    return certificates.read_bundle(pem, name)


def _webhook_is_valid(
    facts: Facts, shown: str, chain: functools.partial[list[x509.Certificate]]
) -> None:
    found = chain()
    _within(shown, found)
    name = components.INJECTOR_SECRET if shown == "proxy-injector" else components.VALIDATOR_SECRET
    data = installed.data_of(facts.control_plane("secrets", name))
    serving = certificates.read_bundle(data.get("tls.crt", ""), f"Secret {name}")
    if serving[0] not in found:
        raise Failed(f"the caBundle of {shown} is not for the certificate in Secret {name}")


def _webhook_lasts(shown: str, chain: functools.partial[list[x509.Certificate]]) -> None:
    _for_long(shown, chain())


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
