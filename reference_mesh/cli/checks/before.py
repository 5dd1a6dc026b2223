"""What must hold before an installation."""

from __future__ import annotations

import datetime as dt
import email.utils
import functools
from typing import TYPE_CHECKING

from reference_mesh.cli.checks.model import Category, Check, Failed, Warned
from reference_mesh.cli.kubernetes import path

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reference_mesh.cli.checks.model import Facts

__all__ = ["categories"]

_MOST_SKEW_S = 60.0
"""Certificates carry their own margin of minutes; more than this eats into it."""

_ASK = "ask for the cluster-admin role"

_CLUSTER_WIDE = (
    ("", "namespaces"),
    ("rbac.authorization.k8s.io", "clusterroles"),
    ("rbac.authorization.k8s.io", "clusterrolebindings"),
    ("apiextensions.k8s.io", "customresourcedefinitions"),
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations"),
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations"),
)
_INSIDE = (
    ("", "serviceaccounts", "ServiceAccounts"),
    ("", "services", "Services"),
    ("apps", "deployments", "Deployments"),
    ("", "configmaps", "ConfigMaps"),
    ("", "secrets", "Secrets"),
)


def categories(facts: Facts) -> Iterator[Category]:
    """`pre-kubernetes-setup`."""
    creations = [
        Check(
            description=f"can create {shown}",
            run=functools.partial(_may, facts, "create", group, resource),
            hint=_ASK,
        )
        for group, resource, shown in _INSIDE
    ]
    yield Category(
        "pre-kubernetes-setup",
        (
            Check(
                description="control plane namespace does not already exist",
                run=functools.partial(_namespace_is_free, facts),
                hint="to change an installation run `refmesh upgrade`",
            ),
            Check(
                description="can create non-namespaced resources",
                run=functools.partial(_may_cluster_wide, facts),
                hint=_ASK,
            ),
            *creations,
            Check(
                description="can read Secrets",
                run=functools.partial(_may, facts, "get", "", "secrets"),
                hint=_ASK,
            ),
            Check(
                description="no clock skew detected",
                run=functools.partial(_clocks_agree, facts),
                hint="certificates made here would not be valid there; set the clock",
            ),
        ),
    )


def _namespace_is_free(facts: Facts) -> None:
    if facts.kubernetes.find(path("v1", "namespaces", name=facts.namespace)) is not None:
        raise Failed(f'the "{facts.namespace}" namespace already exists')


def _may_cluster_wide(facts: Facts) -> None:
    for group, resource in _CLUSTER_WIDE:
        _may(facts, "create", group, resource, namespaced=False)


def _may(facts: Facts, verb: str, group: str, resource: str, *, namespaced: bool = True) -> None:
    attributes = {"verb": verb, "group": group, "resource": resource}
    if namespaced:
        attributes["namespace"] = facts.namespace
    review = facts.kubernetes.create(
        path("authorization.k8s.io/v1", "selfsubjectaccessreviews"),
        {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        },
    )
    status = review.get("status") or {}
    if not status.get("allowed"):
        reason = status.get("reason") or "not allowed"
        raise Failed(f"cannot {verb} {resource}: {reason}")


def _clocks_agree(facts: Facts) -> None:
    told = facts.now()
    try:
        there = email.utils.parsedate_to_datetime(told)
    except ValueError as error:
        raise Warned("the API server does not tell its time") from error
    there = there.replace(tzinfo=there.tzinfo or dt.UTC)  # `-0000`: no zone, but that time
    skew_s = abs((dt.datetime.now(dt.UTC) - there).total_seconds())
    if skew_s > _MOST_SKEW_S:
        raise Warned(f"the API server's clock and this one differ by {skew_s:.0f} s")
