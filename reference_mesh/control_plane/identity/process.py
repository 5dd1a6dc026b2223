"""The identity process: flags, parts and their lives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reference_mesh.control_plane import admin, component, logfmt, serving, settings
from reference_mesh.control_plane.identity.authority import ISSUER, Authority, ObjectSink
from reference_mesh.control_plane.identity.certify import Certifier
from reference_mesh.control_plane.identity.tokens import ApiReviewer
from reference_mesh.control_plane.kube import client as kube
from reference_mesh.control_plane.kube import events
from reference_mesh.control_plane.kube.denied import Denials
from reference_mesh.control_plane.kube.reflector import Reflector
from reference_mesh.manifests import names

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

__all__ = ["metrics", "run"]


def run(arguments: Sequence[str]) -> int:
    """Serve until told to end; returns the exit code of the process."""
    parser = component.parser("identity", admin_port=names.IDENTITY_ADMIN_PORT)
    parser.add_argument("--addr", default=f"0.0.0.0:{names.IDENTITY_PORT}", help="gRPC address")
    flags = parser.parse_args(arguments)
    return component.run("identity", flags, _serve)


async def _serve(flags: argparse.Namespace, chosen: settings.Settings) -> None:
    log = logfmt.Log("identity")
    denials = Denials()
    client = kube.connect(denials)
    recorder = events.Recorder(client, namespace=chosen.namespace, deployment="linkerd-identity")
    authority = Authority(recorder.record, namespace=chosen.namespace)
    certifier = Certifier(chosen, authority, ApiReviewer(client), recorder.record)
    reflectors = [
        Reflector(client, kind, ObjectSink(changed), namespace=chosen.namespace, name=name)
        for kind, name, changed in (
            (kube.SECRETS, ISSUER, authority.secret_changed),
            (kube.CONFIG_MAPS, names.TRUST_ROOTS, authority.bundle_changed),
        )
    ]
    page = admin.Admin(
        ready=lambda: authority.usable is not None,
        metrics=lambda: metrics(authority, certifier) + denials.metrics(),
    )
    background = [recorder.run, authority.run, *(reflector.run for reflector in reflectors)]
    async with (
        component.background(background),
        admin.serving(page, **component.endpoint(flags.admin_addr)),
        serving.serving([certifier.handler()], address=flags.addr) as port,
    ):
        log.info("serving", port=port, trust_domain=chosen.trust_domain)
        await serving.stopped()
        log.info("ending")


def metrics(authority: Authority, certifier: Certifier) -> str:
    """Metrics of the component, in Prometheus' text format."""
    lines = [
        "# HELP issuer_cert_ttl_seconds Time left of the issuer certificate's validity.",
        "# TYPE issuer_cert_ttl_seconds gauge",
        f"issuer_cert_ttl_seconds {authority.ttl_s:.3f}",
        "# HELP certify_total Certify calls by status.",
        "# TYPE certify_total counter",
        *(
            f'certify_total{{code="{code}"}} {count}'
            for code, count in sorted(certifier.answers.items())
        ),
    ]
    return "\n".join(lines) + "\n"
