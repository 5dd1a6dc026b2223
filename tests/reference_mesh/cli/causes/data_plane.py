"""Of the pods in the mesh."""

from __future__ import annotations

from reference_mesh.manifests import names
from tests.reference_mesh.cli import live_acts
from tests.reference_mesh.cli.breaking import (
    certified,
    meshed_label,
    misspelt,
    more_anchors,
    opaque,
    other_version,
    service,
    silent,
    untold,
)
from tests.reference_mesh.cli.causes.model import PROXY, Cause

CAUSES = [
    # linkerd-data-plane, linkerd-identity-data-plane
    Cause(
        "data plane proxies certificate match CA",
        more_anchors,
        "shop/web-0",
        "warning",
        PROXY,
    ),
    Cause(
        "data plane proxies renew their certificates in time",
        lambda api: certified(api, -22, 2),
        "end soon and are not renewed: shop/web-0",
        "warning",
        PROXY,
        live_acts.NOT_RENEWED,
    ),
    Cause(
        "data plane proxies renew their certificates in time",
        lambda api: certified(api, -25, -1),
        "certificates are over: shop/web-0",
        options=PROXY,
        live=live_acts.NOT_RENEWED,
    ),
    Cause(
        "data plane proxies renew their certificates in time",
        untold,
        "metrics of these do not tell when certificates end: shop/web-0",
        "warning",
        PROXY,
        "our own proxy always tells",
    ),
    Cause(
        "data plane proxies renew their certificates in time",
        silent,
        "pod shop/web-0: its proxy does not answer",
        options=PROXY,
        live=live_acts.by_hand(),
    ),
    Cause(
        "data plane namespace exists",
        lambda _: None,
        'the "nowhere" namespace does not exist',
        options=(*PROXY, "-n", "nowhere"),
    ),
    Cause(
        "data plane proxies are ready",
        lambda api: api.add_meshed()["status"]["initContainerStatuses"][0].update(ready=False),
        "shop/web-0: Running, not ready",
        options=PROXY,
        live=live_acts.by_hand(readinessProbe={"exec": {"command": ["false"]}}),
    ),
    Cause(
        "data plane proxies are ready",
        lambda _: None,
        "no pods of the data plane found",
        "warning",
        PROXY,
    ),
    Cause(
        "data plane and cli versions match",
        lambda api: other_version(api.add_meshed()["spec"]),
        "web-0 (0.0.9)",
        "warning",
        PROXY,
        live_acts.other_proxy,
    ),
    Cause(
        "data plane pod labels are configured correctly",
        meshed_label,
        "shop/web-0 has label linkerd.io/inject",
        "warning",
        PROXY,
    ),
    Cause(
        "data plane service labels are configured correctly",
        lambda api: api.add(service(labels={names.INJECT: "enabled"})),
        "shop/web has label linkerd.io/inject",
        "warning",
        PROXY,
    ),
    Cause(
        "data plane service annotations are configured correctly",
        lambda api: api.add(service(annotations={names.INJECT: "enabled"})),
        "shop/web has annotation linkerd.io/inject",
        "warning",
        PROXY,
    ),
    Cause(
        "opaque ports are properly annotated",
        opaque,
        "shop/web and pod shop/web-0 differ in 80",
        "warning",
        PROXY,
    ),
    Cause(
        "opaque ports are properly annotated",
        misspelt,
        f"shop/web: {names.OPAQUE_PORTS}: 'web' is not a port",
        "warning",
        PROXY,
    ),
]
