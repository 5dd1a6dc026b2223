"""
Whether the webhooks do their work, asked of the API server as it asks them.

Each question is a dry run: an object that is admitted but not stored. With failure policy Ignore
nothing else shows that the API server does not reach a webhook: pods come up without their sidecar.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from reference_mesh.cli.checks.model import Category, Check, Failed, Warned, proxy_of
from reference_mesh.cli.kubernetes import path
from reference_mesh.errors import ClusterError
from reference_mesh.manifests import names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reference_mesh.cli.checks.model import Facts

__all__ = ["categories"]

_NAMESPACE = "default"

_POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "spec": {"containers": [{"name": "asked", "image": "asked"}]},
}
_WRONG = {
    # What the schema of the kind allows, and only the validator knows to be wrong.
    "policy-validator": (
        "networkauthentications",
        {
            "apiVersion": "policy.linkerd.io/v1alpha1",
            "kind": "NetworkAuthentication",
            "spec": {"networks": [{"cidr": "10.0.0.0/8", "except": ["192.168.0.0/16"]}]},
        },
    ),
    "sp-validator": (
        "serviceprofiles",
        {
            "apiVersion": "linkerd.io/v1alpha2",
            "kind": "ServiceProfile",
            "spec": {"routes": [{"name": "asked", "condition": {"pathRegex": "("}}]},
        },
    ),
}
_REFUSED_BY_OTHERS = ("is forbidden: ", " denied the request")
"""How the API server puts it; a webhook that it does not reach is an internal error instead."""

_HINT = "the API server must reach its service: kubectl -n {} get endpointslices, and see its log"


def categories(facts: Facts) -> Iterator[Category]:
    """`linkerd-admission`."""
    refusing = [
        Check(
            description=f"{hook} webhook refuses what is wrong",
            run=functools.partial(_refuses, facts, hook),
            hint=_HINT.format(facts.namespace),
            patient=True,
        )
        for hook in _WRONG
    ]
    yield Category(
        "linkerd-admission",
        (
            Check(
                description="proxy-injector webhook injects pods",
                run=functools.partial(_injects, facts),
                hint=_HINT.format(facts.namespace),
                patient=True,
            ),
            *refusing,
        ),
    )


def _injects(facts: Facts) -> None:
    try:
        admitted = _dry_run(facts, "pods", _POD)
    except ClusterError as error:
        if any(words in str(error) for words in _REFUSED_BY_OTHERS):
            # Pod security, a quota, a role or a webhook that is not ours: nothing of the injector.
            raise Warned(f"not known, no pod may be asked for in {_NAMESPACE}: {error}") from error
        raise
    if proxy_of(admitted) is None:
        raise Failed("a pod that asks for the mesh is let through without a sidecar")


def _refuses(facts: Facts, hook: str) -> None:
    plural, document = _WRONG[hook]
    try:
        _dry_run(facts, plural, document)
    except ClusterError as error:
        if f'"linkerd-{hook}.linkerd.io" denied the request' not in str(error):
            raise
    else:
        raise Failed(f"a {document['kind']} that means nothing is let through")


def _dry_run(facts: Facts, plural: str, document: dict[str, Any]) -> dict[str, Any]:
    metadata = {
        "name": "asked-by-refmesh-check",
        "namespace": _NAMESPACE,
        "annotations": {names.INJECT: "enabled"},
    }
    address = path(document["apiVersion"], plural, _NAMESPACE)
    return facts.kubernetes.create(address, {**document, "metadata": metadata}, dryRun="All")
