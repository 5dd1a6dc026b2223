"""The injector as a process: a mutating webhook for pods and services."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
from lightkube.core.exceptions import ApiError

from reference_mesh.control_plane import admin, component, logfmt, serving, settings
from reference_mesh.control_plane.injector.injection import Injection, inject, inject_service
from reference_mesh.control_plane.kube import client as kube
from reference_mesh.control_plane.kube.denied import Denials
from reference_mesh.control_plane.webhook import admission
from reference_mesh.control_plane.webhook import serving as https
from reference_mesh.control_plane.webhook.admission import Review, Verdict
from reference_mesh.control_plane.webhook.files import Followed
from reference_mesh.errors import ClusterError, InvalidInput
from reference_mesh.manifests import names, overrides

if TYPE_CHECKING:
    import argparse
    from collections.abc import Awaitable, Callable, Sequence

    from reference_mesh.manifests.values import Values

__all__ = ["Webhook", "run"]

_log = logfmt.Log("proxy-injector")

_NAMESPACES = kube.Kind("", "v1", "Namespace", "namespaces", namespaced=False)
_TRUST_ROOTS = Path("/var/run/linkerd/identity/trust-roots/ca-bundle.crt")
_TLS = Path("/var/run/linkerd/tls")


def run(argv: Sequence[str] | None = None) -> int:
    """Serve until told to end; returns the exit code of the process."""
    parser = component.parser("proxy-injector", admin_port=names.INJECTOR_ADMIN_PORT)
    parser.add_argument("--addr", default=f"0.0.0.0:{names.WEBHOOK_PORT}", help="HTTPS address")
    parser.add_argument("--tls-dir", type=Path, default=_TLS, help="serving certificate")
    parser.add_argument("--trust-anchors", type=Path, default=_TRUST_ROOTS, help="PEM bundle")
    return component.run("proxy-injector", parser.parse_args(argv), _serve)


class Webhook:
    """
    Decides on each review, and counts.

    Namespaces are read anew for each pod: a cached one could miss the annotation that somebody
    set a moment before creating the pod, and that pod would stay outside the mesh.
    """

    def __init__(
        self,
        *,
        namespace_of: Callable[[str], Awaitable[dict[str, Any]]],
        values: Callable[[], Values],
        trust_anchors: Callable[[], str],
        control_plane_ns: str,
    ) -> None:
        self._namespace_of = namespace_of
        self._values = values
        self._trust_anchors = trust_anchors
        self._control_plane_ns = control_plane_ns
        self._requests: Counter[tuple[tuple[str, str], ...]] = Counter()
        self._responses: Counter[tuple[tuple[str, str], ...]] = Counter()

    async def decide(self, review: Review) -> Verdict:
        """
        The verdict for a pod or a service; anything else passes unchanged.

        Raises:
            InvalidInput: an annotation has a value that cannot be used.
            ClusterError: the namespace cannot be read.

        """
        if review.operation != "CREATE" or review.kind not in {"Pod", "Service"}:
            return Verdict()
        namespace = await self._namespace_of(review.namespace)
        if review.kind == "Service":
            done = inject_service(review.document, namespace, self._values())
            return Verdict(patch=done.patch)
        labels = _labels(review, namespace)
        self._requests[labels] += 1
        try:
            done = self._inject(review, namespace)
        except InvalidInput as error:
            self._responses[(*labels, ("skip", "true"), ("skip_reason", "invalid_annotation"))] += 1
            _log.warning("refused", namespace=review.namespace, pod=_name(review), error=error)
            raise
        outcome = ("skip", "true" if done.skipped else "false"), ("skip_reason", done.skipped or "")
        self._responses[(*labels, *outcome)] += 1
        _log.info(
            "skipped" if done.skipped else "injected",
            namespace=review.namespace,
            pod=_name(review),
            reason=done.skipped or "",
        )
        return Verdict(patch=done.patch, warnings=done.warnings)

    def metrics(self) -> str:
        """Both counters, in Prometheus' text format."""
        lines = []
        for name, about, counts in (
            ("requests", "Pods that the API server asked about.", self._requests),
            ("responses", "Answers given, by whether and why a pod was skipped.", self._responses),
        ):
            full = f"proxy_inject_admission_{name}_total"
            lines += [f"# HELP {full} {about}", f"# TYPE {full} counter"]
            for labels, count in sorted(counts.items()):
                shown = ",".join(f'{label}="{_escaped(value)}"' for label, value in labels)
                lines.append(f"{full}{{{shown}}} {count}")
        return "\n".join(lines) + "\n"

    def _inject(self, review: Review, namespace: dict[str, Any]) -> Injection:
        return inject(
            review.document,
            namespace,
            self._values(),
            trust_anchors_pem=self._trust_anchors(),
            control_plane_ns=self._control_plane_ns,
        )


async def _serve(flags: argparse.Namespace, chosen: settings.Settings) -> None:
    denials = Denials()
    client = kube.connect(denials)
    namespaces = _NAMESPACES.resource

    async def namespace_of(name: str) -> dict[str, Any]:
        try:
            return dict(await client.get(namespaces, name))
        except (ApiError, httpx2.HTTPError) as error:
            raise ClusterError(f"namespace {name}: {kube.reason(error)}") from error

    values = Followed([flags.config], lambda: _values(flags.config))
    anchors = Followed([flags.trust_anchors], flags.trust_anchors.read_text)
    values.get()
    anchors.get()
    webhook = Webhook(
        namespace_of=namespace_of,
        values=values.get,
        trust_anchors=anchors.get,
        control_plane_ns=chosen.namespace,
    )
    page = admin.Admin(ready=lambda: True, metrics=lambda: webhook.metrics() + denials.metrics())
    application = admission.application(webhook.decide)
    address = component.endpoint(flags.addr)
    async with (
        https.serving(application, tls_dir=flags.tls_dir, **address) as port,
        admin.serving(page, **component.endpoint(flags.admin_addr)),
    ):
        _log.info("serving", port=port)
        await serving.stopped()
        _log.info("ending")


def _values(file: Path) -> Values:
    return overrides.combine(overrides.load(file.read_text(), str(file)))[0]


def _labels(review: Review, namespace: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    metadata = review.document.get("metadata") or {}
    owners = metadata.get("ownerReferences") or []
    owner = str(owners[0].get("kind", "")).lower() if owners else ""
    if names.INJECT in (metadata.get("annotations") or {}):
        annotated = "workload"
    elif names.INJECT in (namespace.get("metadata", {}).get("annotations") or {}):
        annotated = "namespace"
    else:
        annotated = ""
    return (
        ("owner_kind", owner),
        ("namespace", review.namespace),
        ("annotation_at", annotated),
    )


def _name(review: Review) -> str:
    metadata = review.document.get("metadata") or {}
    return str(metadata.get("name") or metadata.get("generateName") or "")


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
