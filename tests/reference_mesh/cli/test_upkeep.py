from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from reference_mesh.cli.report import FAIL, OK, WARN
from reference_mesh.manifests.certificates import make_webhook
from tests.reference_mesh.cli.breaking import (
    HOOKS,
    INJECTOR,
    ISSUER,
    ROOTS,
    Signed,
    gone,
    put,
    serve,
)
from tests.reference_mesh.cli.causes.model import found

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from click.testing import Result


def test_upgrade_changes_nothing_by_itself(refmesh: Callable[..., Result], installed: Any) -> None:
    before = dict(installed.objects)
    result = refmesh("upgrade")
    assert result.exit_code == 0, result.stderr
    for document in yaml.safe_load_all(result.stdout):
        kept = next(o for o in before.values() if same(o, document))
        assert {**kept, "status": None} == {**document, "status": None}


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    keys = ("kind", "apiVersion")
    return all(one[key] == other[key] for key in keys) and (
        one["metadata"]["name"] == other["metadata"]["name"]
    )


def test_upgrade_keeps_choices_and_adds_new_ones(
    refmesh: Callable[..., Result], installed: Any
) -> None:
    installed.apply(refmesh("upgrade", "--set", "proxy.logLevel=debug").stdout)
    installed.apply(refmesh("upgrade", "--set", "proxy.uid=3000").stdout)
    secret = installed.of("Secret", "linkerd-config-overrides")
    kept = yaml.safe_load(base64.b64decode(secret["data"]["linkerd-config-overrides"]))
    assert kept == {"proxy": {"logLevel": "debug", "uid": 3000}}


def test_upgrade_keeps_what_users_put_beside_it(
    refmesh: Callable[..., Result], installed: Any
) -> None:
    settings = '{"prometheusUrl": "http://prometheus.monitoring:9090"}\n'
    installed.of("ConfigMap", "linkerd-config")["data"] = {"global": settings}
    installed.apply(refmesh("upgrade").stdout)
    assert installed.of("ConfigMap", "linkerd-config")["data"]["global"] == settings


def test_upgrade_does_not_lose_a_choice_that_it_does_not_know(
    refmesh: Callable[..., Result], installed: Any
) -> None:
    """A newer version made the installation: going back is not refused, losing settings is."""
    newer = base64.b64encode(b"proxy: {fromTheFuture: 3}").decode()
    installed.of("Secret", "linkerd-config-overrides")["data"]["linkerd-config-overrides"] = newer
    for command in ("upgrade", "prune"):
        refused = refmesh(command)
        assert refused.exit_code == 1
        assert "unknown value `proxy.fromTheFuture`" in refused.stderr
        assert "linkerd/linkerd-config-overrides" in refused.stderr
        assert "another version" in refused.stderr


def test_upgrade_needs_an_installation(refmesh: Callable[..., Result]) -> None:
    refused = refmesh("upgrade")
    assert refused.exit_code == 1
    assert "refmesh install" in refused.stderr


def test_prune_prints_what_is_left_over(refmesh: Callable[..., Result], installed: Any) -> None:
    assert refmesh("prune").stdout == ""
    installed.add(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": "linkerd-old",
                "namespace": "linkerd",
                "labels": {"linkerd.io/control-plane-ns": "linkerd"},
            },
        }
    )
    assert yaml.safe_load(refmesh("prune").stdout) == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "linkerd-old", "namespace": "linkerd"},
    }


def test_uninstall_lists_all_and_the_namespace_last(
    refmesh: Callable[..., Result], installed: Any
) -> None:
    del installed
    kinds = [item["kind"] for item in yaml.safe_load_all(refmesh("uninstall").stdout)]
    assert kinds[0] == "MutatingWebhookConfiguration"
    assert kinds[-1] == "Namespace"
    assert {"CustomResourceDefinition", "ClusterRole", "Deployment"} <= set(kinds)


def test_uninstall_spares_pods_in_the_mesh(refmesh: Callable[..., Result], installed: Any) -> None:
    installed.add_meshed()
    refused = refmesh("uninstall")
    assert refused.exit_code == 1
    assert "shop/web-0" in refused.stderr
    assert refmesh("uninstall", "--force").exit_code == 0


def test_versions_of_all_parts(refmesh: Callable[..., Result], installed: Any) -> None:
    installed.add_meshed()
    assert refmesh("version", "--proxy", "-n", "shop").stdout == (
        "Client version: 0.1.0\nServer version: 0.1.0\nProxy versions:\n\t0.1.0 (1 pods)\n"
    )
    assert refmesh("version", "--client", "--short").stdout == "0.1.0\n"


def test_check_is_good_after_install(refmesh: Callable[..., Result], installed: Any) -> None:
    del installed
    result = refmesh("check", "--wait", "0s")
    assert result.exit_code == 0, result.stdout
    assert result.stdout.endswith(f"\nStatus check results are {OK}\n")
    assert FAIL not in result.stdout
    assert WARN not in result.stdout


def test_check_names_what_is_wrong_and_what_to_do(refmesh: Callable[..., Result]) -> None:
    result = refmesh("check", "--wait", "0s")
    assert result.exit_code == 1
    assert result.stdout.endswith(
        "linkerd-existence\n"
        "-----------------\n"
        f"{FAIL} control plane Namespace exists\n"
        '    the "linkerd" namespace does not exist\n'
        "    hint: install the control plane: refmesh install | kubectl apply -f -; one that is in "
        "another namespace is named with --linkerd-namespace\n"
        "\n"
        f"Status check results are {FAIL}\n"
    )


def test_check_sees_an_issuer_of_another_root(
    refmesh: Callable[..., Result], installed: Any
) -> None:
    other = yaml.safe_load_all(refmesh("install", "--ignore-cluster").stdout)
    foreign = next(o for o in other if o["metadata"]["name"] == "linkerd-identity-issuer")
    installed.add(foreign)
    result = refmesh("check", "--wait", "0s", "-o", "json")
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert report["success"] is False
    bad = [c for g in report["categories"] for c in g["checks"] if c["result"] == "error"]
    assert [item["description"] for item in bad] == ["issuer cert is issued by the trust anchor"]


def test_check_of_the_data_plane_sees_pods_with_old_anchors(
    refmesh: Callable[..., Result], installed: Any
) -> None:
    pod = installed.add_meshed()
    pod["metadata"]["annotations"]["linkerd.io/trust-root-sha256"] = "old"
    result = refmesh("check", "--proxy", "--wait", "0s", "-o", "short")
    assert result.exit_code == 0
    assert f"{WARN} data plane proxies certificate match CA" in result.stdout
    assert "shop/web-0" in result.stdout


def test_check_waits_no_longer_than_told(refmesh: Callable[..., Result], installed: Any) -> None:
    installed.of("Deployment", "linkerd-identity")["status"] = {}
    result = refmesh("check", "--wait", "0s")
    assert result.exit_code == 1
    assert "linkerd-identity: 0 of 1 replicas are ready" in result.stdout


def test_endpoints_are_a_table(refmesh: Callable[..., Result], installed: Any) -> None:
    pod = "/api/v1/namespaces/linkerd/pods/linkerd-destination-0:9996/proxy/endpoints"
    endpoint = {"ip": "10.244.0.7", "port": 8080, "metricLabels": {"pod": "web-0"}}
    answer = {"labels": {"namespace": "shop", "service": "web"}, "endpoints": [endpoint]}
    installed.pages[pod] = (200, json.dumps(answer))
    result = refmesh("diagnostics", "endpoints", "web.shop.svc.cluster.local:80")
    assert result.stdout == (
        "NAMESPACE   IP           PORT   POD     SERVICE\n"
        "shop        10.244.0.7   8080   web-0   web.shop\n"
    )


def test_refusal_of_the_control_plane_is_passed_on(
    refmesh: Callable[..., Result], installed: Any
) -> None:
    pod = "/api/v1/namespaces/linkerd/pods/linkerd-destination-0:9996/proxy/endpoints"
    installed.pages[pod] = (400, '{"error": "10.0.0.1 is an address"}')
    result = refmesh("diagnostics", "endpoints", "10.0.0.1:80")
    assert result.exit_code == 1
    assert result.stderr == "Error: 10.0.0.1 is an address\n"


@pytest.mark.parametrize(
    ("metrics", "issued", "renewals"),
    [
        (
            """\
control_identity_cert_expiration_timestamp_seconds 1800000000.25
control_identity_cert_refresh_timestamp_seconds 1799913600.5
control_identity_cert_refreshes_total{result="error"} 7
control_identity_cert_refreshes_total{result="ok"} 3
""",
            "2027-01-14T08:00:00Z",
            3,
        ),
        (
            """\
identity_cert_expiration_timestamp_seconds 1800000000
identity_cert_refresh_count 3
""",
            "unknown",
            3,
        ),
        (
            """\
control_identity_cert_expiration_timestamp_seconds 1.8e9
control_identity_cert_refresh_timestamp_seconds 0
""",
            "never",
            0,
        ),
    ],
    ids=["of today", "of an earlier release", "not yet"],
)
def test_identity_comes_from_the_running_proxy(
    refmesh: Callable[..., Result], installed: Any, metrics: str, issued: str, renewals: int
) -> None:
    installed.add_meshed()
    base = "/api/v1/namespaces/shop/pods/web-0:4191/proxy"
    name = "default.shop.serviceaccount.identity.linkerd.cluster.local"
    installed.pages[f"{base}/env.json"] = (
        200,
        json.dumps({"LINKERD2_PROXY_IDENTITY_LOCAL_NAME": name}),
    )
    installed.pages[f"{base}/metrics"] = (200, metrics)
    rows = json.loads(refmesh("identity", "-n", "shop", "web-0", "-o", "json").stdout)
    assert rows == [
        {
            "pod": "web-0",
            "identity": name,
            "issued": issued,
            "expires": "2027-01-15T08:00:00Z",
            "renewals": renewals,
            "certificate": None,
        }
    ]
    said = refmesh("identity", "-n", "shop", "web-0").stdout
    assert "POD web-0 (1 of 1)" in said
    assert f"does not give out its certificate. Identity: {name}" in said


def test_proxies_are_asked_where_their_pods_say(
    refmesh: Callable[..., Result], installed: Any
) -> None:
    (sidecar,) = installed.add_meshed()["spec"]["initContainers"]
    sidecar["ports"] = [{"name": "linkerd-admin", "containerPort": 4291}]
    base = "/api/v1/namespaces/shop/pods/web-0:4291/proxy"
    installed.pages = {f"{base}/env.json": (200, "{}"), f"{base}/metrics": (200, "of 4291")}
    assert refmesh("identity", "-n", "shop", "web-0").exit_code == 0
    said = refmesh("diagnostics", "proxy-metrics", "-n", "shop", "pod/web-0").stdout
    assert said == "#\n# POD web-0 (admin port 4291)\n#\nof 4291"


def test_identity_shows_the_certificate_that_peers_see(
    refmesh: Callable[..., Result], installed: Any
) -> None:
    installed.add_meshed()
    base = "/api/v1/namespaces/shop/pods/web-0:4191/proxy"
    installed.pages[f"{base}/env.json"] = (200, "{}")
    shown = make_webhook(["web.shop.svc"]).certificate_pem
    installed.pages[f"{base}/certificate.pem"] = (200, shown)
    said = refmesh("identity", "-n", "shop", "web-0").stdout
    assert "POD web-0 (1 of 1)\n\nCertificate:\n" in said
    assert "DNS:web.shop.svc\n" in said
    assert "TLS Web Server Authentication\n" in said
    assert "Signature Algorithm: ECDSA-SHA256\n" in said
    rows = json.loads(refmesh("identity", "-n", "shop", "web-0", "-o", "json").stdout)
    assert rows[0]["certificate"] == shown
    installed.pages[f"{base}/certificate.pem"] = (200, "not a certificate")
    failed = refmesh("identity", "-n", "shop", "web-0")
    assert failed.exit_code == 1
    assert "pod web-0: its proxy's certificate:" in failed.stderr


@pytest.mark.parametrize("command", ["install", "upgrade", "prune", "uninstall", "check"])
def test_commands_say_how_to_use_them(refmesh: Callable[..., Result], command: str) -> None:
    result = refmesh(command, "--help")
    assert result.exit_code == 0
    assert "--linkerd-namespace" in result.stdout


@pytest.mark.parametrize("extension", ["viz", "jaeger"])
def test_extensions_of_linkerd_say_where_the_figures_are(
    refmesh: Callable[..., Result], extension: str
) -> None:
    result = refmesh(extension, "edges", "-n", "production")
    assert result.exit_code == 2
    assert f"no {extension} extension" in result.output
    assert "refmesh diagnostics proxy-metrics" in result.output


def test_upgrade_renews_the_certificates_of_webhooks_in_time(
    refmesh: Callable[..., Result], installed: Any
) -> None:
    serve(installed, INJECTOR, started=310)
    old = installed.of("Secret", INJECTOR)["data"]["tls.crt"]
    upgraded = refmesh("upgrade")
    assert INJECTOR in upgraded.stderr
    kinds = [document["kind"] for document in yaml.safe_load_all(upgraded.stdout)]
    assert kinds.index("MutatingWebhookConfiguration") < kinds.index("Secret")
    installed.apply(upgraded.stdout)
    new = installed.of("Secret", INJECTOR)["data"]["tls.crt"]
    assert new != old
    bundle = installed.of(*HOOKS["proxy-injector"])["webhooks"][0]["clientConfig"]["caBundle"]
    assert base64.b64decode(bundle) == base64.b64decode(new) + base64.b64decode(old)
    again = refmesh("upgrade")
    assert again.stderr == ""
    installed.apply(again.stdout)
    assert installed.of("Secret", INJECTOR)["data"]["tls.crt"] == new
    description = "proxy-injector cert is valid for at least 60 days"
    assert found(refmesh("check", "--wait", "0s", "-o", "json"), description)["result"] == "success"


def test_upgrade_replaces_an_issuer_that_is_gone(
    refmesh: Callable[..., Result], installed: Any, tmp_path: Path
) -> None:
    installed.remove("Secret", ISSUER)
    installed.remove("ConfigMap", ROOTS)
    root = Signed(-1, 300)
    made = Signed(-1, 300, signer=root)
    options = []
    for option, text in (
        ("identity-trust-anchors-file", root.pem),
        ("identity-issuer-certificate-file", made.pem),
        ("identity-issuer-key-file", made.key_pem),
    ):
        (tmp_path / option).write_text(text)
        options.append(f"--{option}={tmp_path / option}")
    installed.apply(refmesh("upgrade", *options).stdout)
    result = refmesh("check", "--wait", "0s")
    assert result.exit_code == 0, result.stdout


def test_upgrade_takes_trust_anchors_alone(
    refmesh: Callable[..., Result], installed: Any, tmp_path: Path
) -> None:
    """A second anchor, as a rotation begins; not one that the installed issuer has nothing of."""
    bundle, other = tmp_path / "bundle.crt", Signed(-1, 300).pem
    issuer = dict(installed.of("Secret", ISSUER)["data"])
    both = installed.of("ConfigMap", ROOTS)["data"]["ca-bundle.crt"] + other
    bundle.write_text(both)
    installed.apply(refmesh("upgrade", f"--identity-trust-anchors-file={bundle}").stdout)
    assert installed.of("ConfigMap", ROOTS)["data"]["ca-bundle.crt"] == both
    assert installed.of("Secret", ISSUER)["data"] == issuer

    bundle.write_text(other)
    refused = refmesh("upgrade", f"--identity-trust-anchors-file={bundle}")
    assert refused.exit_code == 1
    assert "not signed by any of the trust anchors (made for a test)" in refused.stderr


@pytest.mark.parametrize(
    "damage",
    [
        gone("Secret", INJECTOR),
        lambda api: put(api, INJECTOR, tls_crt="garbage"),
        lambda api: put(api, INJECTOR, tls_key=Signed(-1, 9).key_pem),
        lambda api: serve(api, INJECTOR, 1, host="injector.example"),
        lambda api: serve(api, INJECTOR, started=400),
    ],
)
def test_upgrade_heals_the_certificates_of_webhooks(
    refmesh: Callable[..., Result], installed: Any, damage: Callable[[Any], None]
) -> None:
    damage(installed)
    installed.apply(refmesh("upgrade").stdout)
    result = refmesh("check", "--wait", "0s")
    assert result.exit_code == 0, result.stdout
