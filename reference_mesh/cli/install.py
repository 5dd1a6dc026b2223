"""`refmesh install`: prints what to apply; touches nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from reference_mesh.cli import report, spreading
from reference_mesh.cli.kubernetes import Kubernetes, connected, path
from reference_mesh.cli.options import Where, where_options
from reference_mesh.errors import InvalidInput, RefmeshError, UsageError
from reference_mesh.manifests import (
    acceptance,
    availability,
    certificates,
    control_plane,
    crds,
    documents,
    overrides,
    serving,
)
from reference_mesh.manifests.certificates import Credentials, KeyPair

if TYPE_CHECKING:
    from reference_mesh.manifests.values import Values

__all__ = ["command", "given_issuer", "load_values_files"]

NO_CRDS = (
    "Linkerd CRDs must be installed first. Run refmesh install with the --crds flag:\n"
    "    refmesh install --crds | kubectl apply -f -"
)

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("install")
@click.option("--crds", "only_crds", is_flag=True, help="Print the custom resource definitions.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Set one value.")
@click.option("-f", "--values", "files", multiple=True, type=_FILE, help="YAML file of values.")
@click.option("--ha", is_flag=True, help="Three replicas, and admission that waits for them.")
@click.option("--ignore-cluster", is_flag=True, help="Do not look at the cluster first.")
@click.option("--identity-trust-anchors-file", "anchors", type=_FILE, help="PEM bundle of roots.")
@click.option("--identity-issuer-certificate-file", "issuer", type=_FILE, help="PEM certificate.")
@click.option("--identity-issuer-key-file", "key", type=_FILE, help="PEM key of the issuer.")
@click.option(
    "--identity-external-issuer",
    "external",
    is_flag=True,
    help="Leave the issuer's Secret to something else, such as cert-manager.",
)
@where_options
def command(
    where: Where,
    *,
    only_crds: bool,
    settings: tuple[str, ...],
    files: tuple[Path, ...],
    ha: bool,
    ignore_cluster: bool,
    anchors: Path | None,
    issuer: Path | None,
    key: Path | None,
    external: bool,
) -> None:
    """Output Kubernetes resources to install the mesh; pipe them into `kubectl apply -f -`."""
    if only_crds:
        click.echo(documents.dump_all(crds.documents(where.namespace)), nl=False)
        return
    scheme = ("identity.issuer.scheme=kubernetes.io/tls",) if external else ()
    layers = [availability.OVERRIDES] if ha else []
    values, _ = overrides.combine(*layers, *load_values_files(files), settings=(*scheme, *settings))
    given_anchors, pair = given_issuer(anchors, issuer, key, external=external)
    if not ignore_cluster:
        _look_first(where, values)
    if given_anchors is None:
        anchor = certificates.make_trust_anchor(values.trust_domain)
        given_anchors = anchor.certificate_pem
        pair = certificates.make_issuer(anchor, values.trust_domain, where.namespace)
    credentials = Credentials(
        trust_anchors_pem=given_anchors,
        issuer=pair,
        injector=serving.made(serving.injector_hosts(where.namespace)),
        validator=serving.made(serving.validator_hosts(where.namespace)),
    )
    resources = control_plane.render(values, credentials, namespace=where.namespace)
    click.echo(report.values(values), err=True, nl=False)
    click.echo(documents.dump_all(resources), nl=False)


def load_values_files(files: tuple[Path, ...]) -> list[dict[str, object]]:
    """Overrides of each file, in the order given."""
    return [overrides.load(_read(file), str(file)) for file in files]


def given_issuer(
    anchors: Path | None, issuer: Path | None, key: Path | None, *, external: bool
) -> tuple[str | None, KeyPair | None]:
    """
    Trust anchors and issuer from the user's files, validated; None where there are none.

    Raises:
        UsageError: only some of the files that belong together were given.
        InvalidInput: no proxy would accept them.

    """
    if external:
        if anchors is None or issuer is not None or key is not None:
            raise UsageError(
                "--identity-external-issuer takes --identity-trust-anchors-file and no issuer "
                "files: the Secret linkerd-identity-issuer brings the issuer"
            )
        bundle = _read(anchors)
        acceptance.check_issuer(bundle, None, anchors_source=str(anchors))
        return bundle, None
    if anchors is None and issuer is None and key is None:
        return None, None
    if anchors is None or issuer is None or key is None:
        raise UsageError(
            "--identity-trust-anchors-file, --identity-issuer-certificate-file and "
            "--identity-issuer-key-file belong together; give all three or none"
        )
    bundle, pair = _read(anchors), KeyPair(_read(issuer), _read(key))
    acceptance.check_issuer(bundle, pair, anchors_source=str(anchors), issuer_source=str(issuer))
    return bundle, pair


def _look_first(where: Where, values: Values) -> None:
    """
    Refuse when the definitions are missing or a control plane is there already.

    Too few nodes for the replicas are told.

    Applying a second install over a first would replace its trust anchors, and so cut off every
    meshed pod until it is restarted.
    """
    with connected(where) as kubernetes:
        if not _has_crds(kubernetes):
            raise RefmeshError(NO_CRDS)
        config = path("v1", "configmaps", where.namespace, "linkerd-config")
        if kubernetes.find(config) is not None:
            raise RefmeshError(
                f"there is a control plane in namespace {where.namespace} already; to change it "
                "run: refmesh upgrade | kubectl apply -f -  (or install with --ignore-cluster)"
            )
        click.echo(spreading.warning(values, kubernetes), err=True, nl=False)


def _has_crds(kubernetes: Kubernetes) -> bool:
    group = path("apiextensions.k8s.io/v1", "customresourcedefinitions")
    present = {item["metadata"]["name"] for item in kubernetes.items(group)}
    return {crd["metadata"]["name"] for crd in crds.documents()} <= present


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{file}: cannot be read as text: {error}") from error
