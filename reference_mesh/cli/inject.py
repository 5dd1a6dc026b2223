"""`refmesh inject`: a text filter that puts workloads into the mesh."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import click

from reference_mesh.cli import installed, report, streams, workloads
from reference_mesh.cli.kubernetes import connected
from reference_mesh.cli.options import Where, where_options
from reference_mesh.cli.report import Outcome
from reference_mesh.control_plane.injector import injection, overriding, skipping, unheeded
from reference_mesh.control_plane.injector.patch import Patch, apply
from reference_mesh.errors import InvalidInput, UsageError
from reference_mesh.manifests import names, overrides
from reference_mesh.manifests.values import Values

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["command"]

_FLAGS = {
    "access-log": "Format of the inbound access log: apache or json.",
    "default-inbound-policy": "What unauthorized clients may do.",
    "opaque-ports": "Ports whose protocol is not looked at.",
    "proxy-cpu-limit": "Most CPU of the sidecar.",
    "proxy-cpu-request": "CPU that the sidecar is promised.",
    "proxy-log-level": "Log level of the sidecar.",
    "proxy-memory-limit": "Most memory of the sidecar.",
    "proxy-memory-request": "Memory that the sidecar is promised.",
    "skip-inbound-ports": "Ports that bypass the sidecar on the way in.",
    "skip-outbound-ports": "Ports that bypass the sidecar on the way out.",
    "skip-subnets": "Subnets whose traffic bypasses the sidecar.",
}


def _annotation_flags(function: Callable[..., Any]) -> Callable[..., Any]:
    for name, about in sorted(_FLAGS.items(), reverse=True):
        function = click.option(f"--{name}", metavar="VALUE", help=about)(function)
    return function


@click.command("inject")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--manual", is_flag=True, help="Put the sidecar itself in, not the annotation.")
@click.option("--ingress", is_flag=True, help="Send requests where their l5d-dst-override says.")
@_annotation_flags
@where_options
def command(
    where: Where, files: tuple[str, ...], *, manual: bool, ingress: bool, **flags: str | None
) -> None:
    """
    Add the sidecar to the workloads in these files, folders, or `-` for standard input.

    The result goes to standard output, what was done to each object to standard error:

        kubectl get deploy -o yaml | refmesh inject - | kubectl apply -f -
    """
    chosen = {
        f"{names.CONFIG}{name.replace('_', '-')}": value
        for name, value in flags.items()
        if value is not None
    }
    overriding.for_pod(Values(), chosen)
    chosen[names.INJECT] = "ingress" if ingress else "enabled"
    values, anchors = _from_cluster(where) if manual else (Values(), None)
    outcomes: list[Outcome] = []
    change = functools.partial(
        _inject, chosen=chosen, values=values, anchors=anchors, where=where, outcomes=outcomes
    )
    chunks = list(streams.read(files))
    if not chunks:
        raise UsageError(f"{', '.join(files)}: no documents found")
    text = streams.rewritten(chunks, change)
    click.echo(text, nl=False)
    click.echo(report.injection(outcomes), err=True, nl=False)


def _inject(
    document: dict[str, Any],
    *,
    chosen: dict[str, str],
    values: Values,
    anchors: str | None,
    where: Where,
    outcomes: list[Outcome],
) -> dict[str, Any]:
    kind, name = workloads.described(document)
    if kind == "namespace" and anchors is None:
        outcomes.append(Outcome(kind, name, changed=True, warnings=_warnings(chosen)))
        return _annotated(document, chosen)
    pod = workloads.pod_of(document)
    if pod is None:
        outcomes.append(Outcome(kind, name, changed=False, skipped=skipping.UNSUPPORTED))
        return document
    template = _annotated(pod, chosen | _own(pod))
    reason = skipping.reason_to_skip(template, {}, values)
    if reason is not None:
        outcomes.append(Outcome(kind, name, changed=False, skipped=reason))
        return document
    if anchors is None:
        own = _own(template)
        overriding.for_pod(values, overriding.effective({}, own))
        outcomes.append(Outcome(kind, name, changed=True, warnings=_warnings(own)))
        return workloads.with_pod(document, template)
    try:
        done = injection.inject(
            template,
            {"metadata": {"name": document.get("metadata", {}).get("namespace", "")}},
            values,
            trust_anchors_pem=anchors,
            control_plane_ns=where.namespace,
            created_by=f"refmesh/cli {names.VERSION}",
            owner_kind=None if kind == "pod" else kind,
            owner_name=None if kind == "pod" else name,
        )
    except InvalidInput as error:
        raise InvalidInput(f"{kind}/{name}: {error}") from error
    outcomes.append(Outcome(kind, name, changed=True, warnings=done.warnings))
    return workloads.with_pod(document, apply(template, done.patch))


def _from_cluster(where: Where) -> tuple[Values, str]:
    with connected(where) as kubernetes:
        found = installed.installation(kubernetes, where.namespace)
    return overrides.combine(found.overrides)[0], found.credentials.trust_anchors_pem


def _annotated(document: dict[str, Any], annotations: dict[str, str]) -> dict[str, Any]:
    patch = Patch(document)
    patch.annotate(annotations)
    return apply(document, patch.operations)


def _warnings(annotations: dict[str, str]) -> tuple[str, ...]:
    """What the API would answer with for a pod, and tells nobody for the pods of a workload."""
    configured = overriding.effective({}, annotations)
    return tuple(unheeded.of_annotations(configured))


def _own(pod: dict[str, Any]) -> dict[str, str]:
    return (pod.get("metadata") or {}).get("annotations") or {}
