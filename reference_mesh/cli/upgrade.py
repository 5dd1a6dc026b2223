"""`refmesh upgrade`: prints the control plane anew, with what the installed one has kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reference_mesh.cli import installed, report, spreading
from reference_mesh.cli.install import given_issuer, load_values_files
from reference_mesh.cli.kubernetes import connected
from reference_mesh.cli.options import Where, where_options
from reference_mesh.errors import InvalidInput
from reference_mesh.manifests import (
    acceptance,
    availability,
    control_plane,
    crds,
    documents,
    overrides,
)

if TYPE_CHECKING:
    from reference_mesh.manifests.certificates import Credentials

__all__ = ["command"]

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("upgrade")
@click.option("--crds", "only_crds", is_flag=True, help="Print the custom resource definitions.")
@click.option("--ha", is_flag=True, help="Three replicas, and admission that waits for them.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Set one value.")
@click.option("-f", "--values", "files", multiple=True, type=_FILE, help="YAML file of values.")
@click.option("--identity-trust-anchors-file", "anchors", type=_FILE, help="PEM bundle of roots.")
@click.option("--identity-issuer-certificate-file", "issuer", type=_FILE, help="PEM certificate.")
@click.option("--identity-issuer-key-file", "key", type=_FILE, help="PEM key of the issuer.")
@where_options
def command(
    where: Where,
    *,
    only_crds: bool,
    ha: bool,
    settings: tuple[str, ...],
    files: tuple[Path, ...],
    anchors: Path | None,
    issuer: Path | None,
    key: Path | None,
) -> None:
    """
    Output Kubernetes resources to upgrade the mesh; pipe them into `kubectl apply -f -`.

    The issuer, the trust anchors and every value that was chosen stay as they are, unless replaced
    here; trust anchors alone may be, by a bundle that the installed issuer still leads to.
    Certificates of webhooks are renewed when they have less than 60 days left.
    """
    if only_crds:
        click.echo(documents.dump_all(crds.documents(where.namespace)), nl=False)
        return
    alone = anchors is not None and issuer is None and key is None
    bundle, pair = given_issuer(anchors, issuer, key, external=alone)
    with connected(where) as kubernetes:
        found = installed.installation(kubernetes, where.namespace, anchors_pem=bundle, issuer=pair)
        layers = [availability.OVERRIDES] if ha else []
        values, _ = overrides.combine(
            *layers, found.overrides, *load_values_files(files), settings=settings
        )
        _still_good(found.credentials, str(anchors or "installed trust anchors"))
        too_few = spreading.warning(values, kubernetes)
    resources = control_plane.render(
        values, found.credentials, namespace=where.namespace, global_config=found.global_config
    )
    if found.renewed:
        click.echo(f"renewed: the certificates in {' and '.join(found.renewed)}", err=True)
        resources = _trusted_first(resources)
    click.echo(f"{report.values(values)}{too_few}", err=True, nl=False)
    click.echo(documents.dump_all(resources), nl=False)


def _trusted_first(resources: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """
    The webhooks' configurations before the Secrets, whose mounted copies may be read at once.

    An installation has them last, since a webhook is not to be asked before it is there.
    """
    kinds = {"MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"}
    return sorted(resources, key=lambda resource: resource["kind"] not in kinds)


def _still_good(credentials: Credentials, anchors_source: str) -> None:
    try:
        acceptance.check_issuer(
            credentials.trust_anchors_pem,
            credentials.issuer,
            anchors_source=anchors_source,
            issuer_source="installed issuer",
        )
    except InvalidInput as error:
        raise InvalidInput(
            f"{error}; give new ones with --identity-trust-anchors-file, "
            "--identity-issuer-certificate-file and --identity-issuer-key-file"
        ) from error
