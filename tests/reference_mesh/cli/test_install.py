from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from reference_mesh.manifests import certificates, names

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from click.testing import Result

Refmesh = "Callable[..., Result]"


def documents(result: Result) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.stderr
    return list(yaml.safe_load_all(result.stdout))


def write(folder: Path, anchor: certificates.KeyPair, issuer: certificates.KeyPair) -> list[str]:
    for name, text in (
        ("ca", anchor.certificate_pem),
        ("crt", issuer.certificate_pem),
        ("key", issuer.key_pem),
    ):
        (folder / name).write_text(text)
    return [
        f"--identity-trust-anchors-file={folder / 'ca'}",
        f"--identity-issuer-certificate-file={folder / 'crt'}",
        f"--identity-issuer-key-file={folder / 'key'}",
    ]


def test_help_loads_no_command() -> None:
    script = (
        "import sys, reference_mesh.cli as cli\n"
        "try: cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'lightkube', 'httpx2', 'cryptography', 'msgspec', 'yaml'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_definitions_come_first(refmesh: Callable[..., Result], api: Any) -> None:
    refused = refmesh("install")
    assert refused.exit_code == 1
    assert refused.stdout == ""
    assert "refmesh install --crds | kubectl apply -f -" in refused.stderr
    api.apply(refmesh("install", "--crds").stdout)
    assert refmesh("install").exit_code == 0


def test_installing_twice_would_replace_the_anchors(
    refmesh: Callable[..., Result], installed: Any
) -> None:
    del installed
    refused = refmesh("install")
    assert refused.exit_code == 1
    assert "refmesh upgrade" in refused.stderr


def test_values_that_nothing_comes_of_are_told(refmesh: Callable[..., Result]) -> None:
    values = ("isGateway=true",)
    result = refmesh("install", "--ignore-cluster", *(f"--set=proxy.{one}" for one in values))
    told = result.stderr.splitlines()
    for value, line in zip(values, told, strict=True):
        shown = f"‼ value proxy.{value.partition('=')[0]}: this mesh's proxy does not do that yet"
        assert line.startswith(shown)
    assert refmesh("install", "--ignore-cluster").stderr == ""


def test_resources_can_be_applied_in_the_order_printed(refmesh: Callable[..., Result]) -> None:
    kinds = [item["kind"] for item in documents(refmesh("install", "--ignore-cluster"))]
    assert kinds[0] == "Namespace"
    assert kinds.index("ServiceAccount") < kinds.index("ClusterRoleBinding")
    assert kinds.index("Secret") < kinds.index("Deployment")
    assert kinds[-3:] == [
        "MutatingWebhookConfiguration",
        "ValidatingWebhookConfiguration",
        "ValidatingWebhookConfiguration",
    ]


def test_control_plane_pods_may_do_little(refmesh: Callable[..., Result]) -> None:
    for item in documents(refmesh("install", "--ignore-cluster")):
        if item["kind"] != "Deployment":
            continue
        for container in item["spec"]["template"]["spec"]["containers"]:
            security = container["securityContext"]
            assert security["seccompProfile"] == {"type": "RuntimeDefault"}
            assert security["readOnlyRootFilesystem"] is True
            assert security["allowPrivilegeEscalation"] is False
            assert security["runAsNonRoot"] is True
            assert security["capabilities"] == {"drop": ["ALL"]}


def test_ha_outlives_a_node_and_a_drain(refmesh: Callable[..., Result]) -> None:
    printed = documents(refmesh("install", "--ignore-cluster", "--ha"))
    deployments = [item for item in printed if item["kind"] == "Deployment"]
    budgets = {i["metadata"]["name"]: i for i in printed if i["kind"] == "PodDisruptionBudget"}
    assert len(deployments) == 3
    for item in deployments:
        spec, template = item["spec"], item["spec"]["template"]
        labels = template["metadata"]["labels"]
        assert spec["replicas"] == 3
        assert spec["strategy"]["rollingUpdate"] == {"maxSurge": "25%", "maxUnavailable": 1}
        (apart,) = template["spec"]["affinity"]["podAntiAffinity"][
            "requiredDuringSchedulingIgnoredDuringExecution"
        ]
        assert apart["topologyKey"] == "kubernetes.io/hostname"
        (expression,) = apart["labelSelector"]["matchExpressions"]
        assert labels[expression["key"]] in expression["values"]
        budget = budgets[item["metadata"]["name"]]["spec"]
        assert budget["maxUnavailable"] == 1
        assert budget["selector"]["matchLabels"].items() <= labels.items()
        for container in template["spec"]["containers"]:
            assert container["resources"]["requests"]["memory"]
    hooks = [webhook for item in printed for webhook in item.get("webhooks", [])]
    assert {webhook["failurePolicy"] for webhook in hooks} == {"Fail"}
    assert len(hooks) == 3


def test_what_a_user_chooses_wins_over_ha(refmesh: Callable[..., Result]) -> None:
    chosen = ("--set", "controllerReplicas=2", "--set", "webhookFailurePolicy=Ignore")
    printed = documents(refmesh("install", "--ignore-cluster", "--ha", *chosen))
    replicas = {item["spec"]["replicas"] for item in printed if item["kind"] == "Deployment"}
    assert replicas == {2}
    hooks = [webhook for item in printed for webhook in item.get("webhooks", [])]
    assert {webhook["failurePolicy"] for webhook in hooks} == {"Ignore"}


def test_webhooks_leave_alone_what_they_depend_on(refmesh: Callable[..., Result]) -> None:
    printed = documents(refmesh("-L", "mesh", "install", "--ignore-cluster"))
    for webhook in (webhook for item in printed for webhook in item.get("webhooks", [])):
        excluded = {
            (expression["key"], value)
            for expression in webhook["namespaceSelector"]["matchExpressions"]
            if expression["operator"] == "NotIn"
            for value in expression["values"]
        }
        assert {
            ("kubernetes.io/metadata.name", "kube-system"),
            ("kubernetes.io/metadata.name", "mesh"),
            ("config.linkerd.io/admission-webhooks", "disabled"),
        } <= excluded


def test_control_plane_is_evicted_last(refmesh: Callable[..., Result]) -> None:
    printed = documents(refmesh("install", "--ignore-cluster"))
    pods = [item["spec"]["template"]["spec"] for item in printed if item["kind"] == "Deployment"]
    assert {pod["priorityClassName"] for pod in pods} == {"system-cluster-critical"}


def test_roles_grant_no_wildcard_and_no_foreign_secret(refmesh: Callable[..., Result]) -> None:
    for item in documents(refmesh("install", "--ignore-cluster")):
        for rule in item.get("rules", []) if item["kind"] in {"Role", "ClusterRole"} else []:
            assert "*" not in rule["verbs"] + rule["resources"] + rule["apiGroups"]
            if "secrets" in rule["resources"]:
                assert rule["resourceNames"] == ["linkerd-identity-issuer"]


def test_same_credentials_give_the_same_bytes(
    refmesh: Callable[..., Result], installed: Any
) -> None:
    del installed
    assert refmesh("upgrade").stdout == refmesh("upgrade").stdout


def test_given_issuer_is_installed(refmesh: Callable[..., Result], tmp_path: Path) -> None:
    anchor = certificates.make_trust_anchor("cluster.local")
    issuer = certificates.make_issuer(anchor, "cluster.local", "linkerd")
    result = refmesh("install", "--ignore-cluster", *write(tmp_path, anchor, issuer))
    roots = [item for item in documents(result) if item["metadata"]["name"] == names.TRUST_ROOTS]
    assert roots[0]["data"]["ca-bundle.crt"] == anchor.certificate_pem


def test_issuer_of_another_root_is_refused(refmesh: Callable[..., Result], tmp_path: Path) -> None:
    anchor = certificates.make_trust_anchor("cluster.local")
    other = certificates.make_trust_anchor("cluster.local")
    issuer = certificates.make_issuer(other, "cluster.local", "linkerd")
    refused = refmesh("install", "--ignore-cluster", *write(tmp_path, anchor, issuer))
    assert refused.exit_code == 1
    assert refused.stdout == ""
    assert "not signed by any of the trust anchors" in refused.stderr


def test_external_issuer_leaves_the_secret_alone(
    refmesh: Callable[..., Result], tmp_path: Path
) -> None:
    anchor = certificates.make_trust_anchor("cluster.local")
    (tmp_path / "ca").write_text(anchor.certificate_pem)
    result = refmesh(
        "install",
        "--ignore-cluster",
        "--identity-external-issuer",
        f"--identity-trust-anchors-file={tmp_path / 'ca'}",
    )
    found = {item["metadata"]["name"] for item in documents(result)}
    assert "linkerd-identity-issuer" not in found


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--set", "proxy.loglevel=debug"], 64, "did you mean proxy.logLevel"),
        (["--set", "proxy.uid=root"], 1, "`proxy.uid`"),
        (
            ["--set", "deploymentStrategy.rollingUpdate.maxSurge=some"],
            1,
            "expected a number of pods or a share like 25%",
        ),
        (["--identity-external-issuer"], 64, "--identity-trust-anchors-file"),
    ],
)
def test_bad_input_is_one_line(
    refmesh: Callable[..., Result], arguments: list[str], code: int, said: str
) -> None:
    refused = refmesh("install", "--ignore-cluster", *arguments)
    assert refused.exit_code == code
    assert refused.stdout == ""
    assert refused.stderr.count("\n") == 1
    assert said in refused.stderr


def test_server_that_is_gone_is_named(tmp_path: Path, refmesh: Callable[..., Result]) -> None:
    path = tmp_path / "other"
    path.write_text(
        "clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]\n"
        "users: [{name: u, user: {token: t}}]\n"
        "contexts: [{name: c, context: {cluster: c, user: u}}]\n"
        "current-context: c\n"
    )
    refused = refmesh("install", "--kubeconfig", str(path))
    assert refused.exit_code == 1
    assert "http://127.0.0.1:1" in refused.stderr


def test_everything_is_found_again_in_another_namespace(
    refmesh: Callable[..., Result], api: Any
) -> None:
    api.apply(refmesh("-L", "other", "install", "--crds").stdout)
    printed = documents(refmesh("-L", "other", "install"))
    for document in printed:
        api.add(document)
    listed = documents(refmesh("-L", "other", "uninstall"))
    found = {(item["kind"], item["metadata"]["name"]) for item in listed}
    assert {(item["kind"], item["metadata"]["name"]) for item in printed} <= found


@pytest.mark.parametrize("page", ["<html>please log in</html>", "[]"])
def test_a_server_that_is_no_kubernetes_api_is_named(
    api: Any, refmesh: Callable[..., Result], page: str
) -> None:
    api.pages["/apis/apiextensions.k8s.io/v1/customresourcedefinitions"] = (200, page)
    result = refmesh("install")
    assert result.exit_code != 0
    assert "customresourcedefinitions: http://127.0.0.1:" in result.stderr
    assert "is it a Kubernetes API?" in result.stderr
