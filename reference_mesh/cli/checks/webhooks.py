"""
Whether the API server can trust what the webhooks serve, and for how long.

What counts is the certificate in the mounted Secret, which the webhook serves. The bundle of the
configuration may hold older ones beside it: `upgrade` leaves them there for pods that have not
read the new one yet.
"""

from __future__ import annotations

import base64
import binascii
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reference_mesh.cli import installed
from reference_mesh.cli.checks import validity
from reference_mesh.cli.checks.model import Category, Check, Failed
from reference_mesh.cli.kubernetes import path
from reference_mesh.manifests import acceptance, components, serving, webhooks
from reference_mesh.manifests.certificates import KeyPair

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptography import x509

    from reference_mesh.cli.checks.model import Facts

__all__ = ["HOOKS", "Hook", "categories"]

_AGAIN = "make it anew: refmesh upgrade | kubectl apply -f -"


@dataclass(frozen=True, slots=True)
class Hook:
    """One webhook: its name in reports, its configuration, and the Secret of its certificate."""

    shown: str
    plural: str
    configuration: str
    secret: str

    def configured(self, facts: Facts) -> dict[str, object]:
        """
        The configuration on the cluster.

        Raises:
            Failed: there is none.

        """
        address = path("admissionregistration.k8s.io/v1", self.plural, name=self.configuration)
        found = facts.kubernetes.find(address)
        if found is None:
            raise Failed(f'{self.plural} "{self.configuration}" not found')
        return dict((found.get("webhooks") or [{}])[0])


HOOKS = (
    Hook(
        "proxy-injector",
        "mutatingwebhookconfigurations",
        webhooks.INJECTOR_CONFIG,
        components.INJECTOR_SECRET,
    ),
    Hook(
        "sp-validator",
        "validatingwebhookconfigurations",
        webhooks.PROFILE_CONFIG,
        components.VALIDATOR_SECRET,
    ),
    Hook(
        "policy-validator",
        "validatingwebhookconfigurations",
        webhooks.POLICY_CONFIG,
        components.VALIDATOR_SECRET,
    ),
)


def categories(facts: Facts) -> Iterator[Category]:
    """`linkerd-webhooks-and-apisvc-tls`."""
    checks = []
    for hook in HOOKS:
        checks += [
            Check(
                description=f"{hook.shown} webhook has valid cert",
                run=functools.partial(_is_valid, facts, hook),
                hint=_AGAIN,
            ),
            Check(
                description=f"{hook.shown} cert is valid for at least 60 days",
                run=functools.partial(_lasts, facts, hook),
                hint="renew it: refmesh upgrade | kubectl apply -f -",
            ),
        ]
    yield Category("linkerd-webhooks-and-apisvc-tls", tuple(checks))


def _is_valid(facts: Facts, hook: Hook) -> None:
    bundle = _bundle(facts, hook)
    pair, (leaf, *between) = _served(facts, hook)
    acceptance.check_key(pair, f"Secret {hook.secret}")
    validity.within(f"the certificate in Secret {hook.secret}", [leaf])
    host = f"linkerd-{hook.shown}.{facts.namespace}.svc"
    if not serving.names_hosts(leaf, [host]):
        raise Failed(f"the certificate in Secret {hook.secret} is not for host {host}")
    if not acceptance.chains_to(leaf, between, bundle):
        raise Failed(
            f"the caBundle of {hook.configuration} does not trust the certificate in "
            f"Secret {hook.secret}"
        )


def _lasts(facts: Facts, hook: Hook) -> None:
    leaf = _served(facts, hook)[1][0]
    validity.for_long(f"the certificate in Secret {hook.secret}", [leaf])


def _bundle(facts: Facts, hook: Hook) -> list[x509.Certificate]:
    client = hook.configured(facts).get("clientConfig")
    try:
        pem = base64.b64decode(client["caBundle"], validate=True).decode()  # type: ignore[index]
    except (LookupError, TypeError, binascii.Error, UnicodeDecodeError) as error:
        raise Failed(f"{hook.configuration}: its caBundle cannot be read") from error
    return acceptance.read_bundle(pem, f"the caBundle of {hook.configuration}")


def _served(facts: Facts, hook: Hook) -> tuple[KeyPair, list[x509.Certificate]]:
    data = installed.data_of(facts.control_plane("secrets", hook.secret))
    pair = KeyPair(data.get("tls.crt", ""), data.get("tls.key", ""))
    return pair, acceptance.read_bundle(pair.certificate_pem, f"Secret {hook.secret}")
