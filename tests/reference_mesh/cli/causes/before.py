"""Of a cluster before the mesh is installed."""

from __future__ import annotations

from tests.reference_mesh.cli import live_acts
from tests.reference_mesh.cli.breaking import denied
from tests.reference_mesh.cli.causes.model import Cause

CAUSES = [
    Cause(
        "control plane namespace does not already exist",
        lambda api: api.add(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "linkerd"}}
        ),
        'the "linkerd" namespace already exists',
    ),
    Cause(
        "can create non-namespaced resources",
        denied("create", "clusterroles"),
        "cannot create clusterroles",
        live=live_acts.lacking("create", "clusterroles"),
    ),
    *(
        Cause(
            f"can create {kind}",
            denied("create", kind.lower()),
            f"cannot create {kind.lower()}",
            live=live_acts.lacking("create", kind.lower()),
        )
        for kind in ("ServiceAccounts", "Services", "Deployments", "ConfigMaps", "Secrets")
    ),
    Cause(
        "can read Secrets",
        denied("get", "secrets"),
        "cannot get secrets",
        live=live_acts.lacking("get", "secrets"),
    ),
    Cause(
        "no clock skew detected",
        lambda api: setattr(api, "date", "Mon, 01 Jan 2024 00:00:00 GMT"),
        "the API server's clock and this one differ by",
        "warning",
    ),
    Cause(
        "no clock skew detected",
        lambda api: setattr(api, "date", ""),
        "the API server does not tell its time",
        "warning",
    ),
    Cause(
        "no clock skew detected",
        lambda api: setattr(api, "date", "yesterday"),
        "the API server does not tell its time",
        "warning",
    ),
    Cause(
        "no clock skew detected",
        lambda api: setattr(api, "date", "Mon, 01 Jan 2024 00:00:00 -0000"),
        "the API server's clock and this one differ by",
        "warning",
    ),
]
