from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import msgspec
import pytest

from reference_mesh.control_plane.injector import inject, unheeded
from reference_mesh.control_plane.injector.injection import inject_service
from reference_mesh.control_plane.injector.patch import apply
from reference_mesh.errors import InvalidInput
from reference_mesh.manifests import names
from reference_mesh.manifests.values import Identity, Proxy, ProxyInit, Values

PROXY_TESTS = Path(__file__).parents[3] / "reference_mesh/proxy/tests"
ENABLED = {"metadata": {"name": "default", "annotations": {"linkerd.io/inject": "enabled"}}}
PLAIN = {"metadata": {"name": "default"}}


def pod(annotations: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": "web-5d4f-",
            "labels": {"app": "web", "pod-template-hash": "5d4f"},
            "ownerReferences": [{"kind": "ReplicaSet", "name": "web-5d4f", "controller": True}],
            **({"annotations": annotations} if annotations is not None else {}),
        },
        "spec": {
            "containers": [{"name": "app", "ports": [{"containerPort": 8080}]}],
            "initContainers": [{"name": "migrate"}],
            **spec,
        },
    }


def injected(
    document: dict[str, Any], namespace: dict[str, Any] = ENABLED, values: Values | None = None
) -> dict[str, Any]:
    before = copy.deepcopy(document)
    done = inject(document, namespace, values or Values(), trust_anchors_pem="PEM")
    assert done.skipped is None
    assert document == before
    return apply(document, done.patch)


def environment(document: dict[str, Any]) -> dict[str, Any]:
    spec = document["spec"]
    everything = [*spec["initContainers"], *spec["containers"]]
    proxy = next(container for container in everything if container["name"] == "linkerd-proxy")
    return {item["name"]: item.get("value", item.get("valueFrom")) for item in proxy["env"]}


@pytest.mark.parametrize(
    ("document", "namespace", "reason"),
    [
        (pod(hostNetwork=True), ENABLED, "host_network_enabled"),
        (pod(containers=[{"name": "linkerd-proxy"}]), ENABLED, "sidecar_already_exists"),
        (pod(initContainers=[{"name": "linkerd-proxy"}]), ENABLED, "sidecar_already_exists"),
        (pod(containers=[{"name": "istio-proxy"}]), ENABLED, "sidecar_already_exists"),
        (pod(), PLAIN, "injection_enable_annotation_absent"),
        (
            pod({"linkerd.io/inject": "disabled"}),
            ENABLED,
            "injection_disable_annotation_present",
        ),
        (pod({"linkerd.io/inject": "yes"}), ENABLED, "invalid_inject_annotation_at_workload"),
        (
            pod(),
            {"metadata": {"annotations": {"linkerd.io/inject": "on"}}},
            "invalid_inject_annotation_at_ns",
        ),
    ],
)
def test_pod_stays_outside_for_a_stated_reason(
    document: dict[str, Any], namespace: dict[str, Any], reason: str
) -> None:
    done = inject(document, namespace, Values(), trust_anchors_pem="PEM")
    assert done.skipped == reason
    assert done.patch == ()


def test_pod_without_token_is_skipped_only_when_the_token_is_needed() -> None:
    document = pod(automountServiceAccountToken=False)
    injected(document)
    values = Values(identity=Identity(service_account_token_projection=False))
    done = inject(document, ENABLED, values, trust_anchors_pem="PEM")
    assert done.skipped == "disabled_automount_service_account_token_account"


def test_pod_annotation_beats_the_namespace() -> None:
    injected(pod({"linkerd.io/inject": "enabled"}), PLAIN)


def test_native_sidecar_starts_before_every_container_of_the_pod() -> None:
    spec = injected(pod())["spec"]
    assert [c["name"] for c in spec["initContainers"]] == [
        "linkerd-init",
        "linkerd-proxy",
        "migrate",
    ]
    proxy = spec["initContainers"][1]
    assert proxy["restartPolicy"] == "Always"
    assert proxy["startupProbe"] == {
        "httpGet": {"path": "/ready", "port": 4191},
        "periodSeconds": 1,
        "failureThreshold": 120,
    }
    assert [c["name"] for c in spec["containers"]] == ["app"]


def test_ordinary_sidecar_lets_init_containers_reach_the_network() -> None:
    annotations = {"config.linkerd.io/proxy-enable-native-sidecar": "false"}
    spec = injected(pod(annotations))["spec"]
    assert [c["name"] for c in spec["initContainers"]] == ["migrate", "linkerd-init"]
    assert [c["name"] for c in spec["containers"]] == ["linkerd-proxy", "app"]
    assert "restartPolicy" not in spec["containers"][0]


def test_init_container_has_an_image_of_its_own() -> None:
    chosen = {"config.linkerd.io/init-image-version": "2", "config.linkerd.io/proxy-version": "3"}
    first, sidecar, *_ = injected(pod(chosen))["spec"]["initContainers"]
    assert first["image"] == "meshmark.dev/proxy-init:2"
    assert sidecar["image"] == "meshmark.dev/proxy:3"
    assert "command" not in first


def test_old_iptables_has_a_place_for_its_lock() -> None:
    legacy = Values(proxy_init=ProxyInit(iptables_mode="legacy"))
    spec = injected(pod(), values=legacy)["spec"]
    (mount,) = spec["initContainers"][0]["volumeMounts"]
    assert mount["mountPath"] == "/run"
    assert {"name": mount["name"], "emptyDir": {}} in spec["volumes"]
    assert "volumeMounts" not in injected(pod())["spec"]["initContainers"][0]


def test_waiting_before_the_end_needs_no_program_of_the_image() -> None:
    waiting = pod({"config.alpha.linkerd.io/proxy-wait-before-exit-seconds": "5"})
    sidecar = injected(waiting)["spec"]["initContainers"][1]
    assert sidecar["lifecycle"] == {"preStop": {"sleep": {"seconds": 5}}}


@pytest.mark.parametrize(
    ("spec", "lifecycle"),
    [
        ({}, {"preStop": {"sleep": {"seconds": 30}}}),
        ({"terminationGracePeriodSeconds": 10}, {"preStop": {"sleep": {"seconds": 10}}}),
        ({"terminationGracePeriodSeconds": 0}, None),
    ],
)
def test_waiting_before_the_end_stays_within_the_grace(spec: Any, lifecycle: Any) -> None:
    """The API refuses a pod that waits for longer."""
    waiting = pod({"config.alpha.linkerd.io/proxy-wait-before-exit-seconds": "60"}, **spec)
    assert injected(waiting)["spec"]["initContainers"][1].get("lifecycle") == lifecycle


def test_sidecar_may_do_nothing_but_proxy() -> None:
    init, proxy = injected(pod())["spec"]["initContainers"][:2]
    assert proxy["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "runAsUser": 2102,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    rules_only = {"add": ["NET_ADMIN", "NET_RAW"], "drop": ["ALL"]}
    assert init["securityContext"]["capabilities"] == rules_only
    assert init["securityContext"]["privileged"] is False


def test_identity_comes_from_a_projected_token_and_a_key_in_memory() -> None:
    volumes = {volume["name"]: volume for volume in injected(pod())["spec"]["volumes"]}
    assert volumes["linkerd-identity-end-entity"]["emptyDir"] == {"medium": "Memory"}
    source = volumes["linkerd-identity-token"]["projected"]["sources"][0]["serviceAccountToken"]
    assert source["audience"] == "identity.l5d.io"
    assert source["expirationSeconds"] == 86400


def test_environment_names_the_control_plane_and_the_workload() -> None:
    env = environment(injected(pod()))
    prefix = "LINKERD2_PROXY_"
    assert env[prefix + "IDENTITY_SVC_ADDR"] == (
        "linkerd-identity-headless.linkerd.svc.cluster.local.:8080"
    )
    assert env[prefix + "DESTINATION_SVC_NAME"] == (
        "linkerd-destination.linkerd.serviceaccount.identity.linkerd.cluster.local"
    )
    assert env[prefix + "POLICY_WORKLOAD"] == '{"ns":"$(_pod_ns)", "pod":"$(_pod_name)"}'
    assert env[prefix + "IDENTITY_TRUST_ANCHORS"] == "PEM"
    assert env[prefix + "INBOUND_PORTS"] == "8080"
    assert env[prefix + "INBOUND_IPS"] == {"fieldRef": {"fieldPath": "status.podIPs"}}


def test_default_environment_is_the_one_that_the_proxy_is_tested_with() -> None:
    given = {name: value for name, value in environment(injected(pod())).items() if name[0] != "_"}
    lines = (PROXY_TESTS / "injected.env").read_text().splitlines()
    expected = {name: value for name, _, value in (line.partition("=") for line in lines)}
    ips = given.pop("LINKERD2_PROXY_INBOUND_IPS")
    assert ips == {"fieldRef": {"fieldPath": "status.podIPs"}}
    assert expected.pop("LINKERD2_PROXY_INBOUND_IPS")
    assert given == expected


def test_variables_are_defined_before_they_are_expanded() -> None:
    proxy = injected(pod())["spec"]["initContainers"][1]
    seen: set[str] = set()
    for item in proxy["env"]:
        value = item.get("value", "")
        used = {part.split(")")[0] for part in value.split("$(")[1:]}
        assert used <= seen
        seen.add(item["name"])


def test_labels_name_the_deployment_behind_the_replica_set() -> None:
    metadata = injected(pod())["metadata"]
    assert metadata["labels"]["linkerd.io/proxy-deployment"] == "web"
    assert metadata["labels"]["linkerd.io/control-plane-ns"] == "linkerd"
    assert metadata["annotations"]["linkerd.io/proxy-version"]


@pytest.mark.parametrize(
    ("annotation", "value", "variable", "expected"),
    [
        ("proxy-log-level", "debug", "LOG", "debug,[{headers}]=off,[{request}]=off"),
        ("proxy-cpu-limit", "1500m", "CORES", "2"),
        ("access-log", "json", "ACCESS_LOG", "json"),
        ("proxy-metrics-hostname-labels", "true", "OUTBOUND_METRICS_HOSTNAME_LABELS", "true"),
        ("default-inbound-policy", "deny", "INBOUND_DEFAULT_POLICY", "deny"),
        ("proxy-inbound-connect-timeout", "2s", "INBOUND_CONNECT_TIMEOUT", "2s"),
        ("pod-inbound-ports", "80, 90-92", "INBOUND_PORTS", "80,90-92"),
        ("proxy-require-identity-inbound-ports", "80", "INBOUND_PORTS_REQUIRE_IDENTITY", "80"),
        ("enable-gateway", "true", "INBOUND_GATEWAY_SUFFIXES", "svc.cluster.local."),
        ("proxy-admin-shutdown", "enabled", "SHUTDOWN_ENDPOINT_ENABLED", "true"),
        ("admin-port", "5191", "ADMIN_LISTEN_ADDR", "0.0.0.0:5191"),
    ],
)
def test_annotation_reaches_the_sidecar(
    annotation: str, value: str, variable: str, expected: str
) -> None:
    env = environment(injected(pod({f"config.linkerd.io/{annotation}": value})))
    assert env[f"LINKERD2_PROXY_{variable}"] == expected


def test_all_ports_fit_into_a_variable() -> None:
    """One by one they would not: Linux starts no program with a variable of 128 KiB."""
    result = injected(pod({"config.linkerd.io/pod-inbound-ports": "1-65535"}))
    assert environment(result)["LINKERD2_PROXY_INBOUND_PORTS"] == "1-65535"
    default = {"25", "587", "3306", "4444", "5432", "6379", "9300", "11211"}
    assert set(result["metadata"]["annotations"][names.OPAQUE_PORTS].split(",")) == default


def test_additional_variable_replaces_one_of_the_same_name() -> None:
    extra = '[{"name": "LINKERD2_PROXY_LOG", "value": "trace"}, {"name": "A", "value": "b"}]'
    result = injected(pod({"config.linkerd.io/proxy-additional-env": extra}))
    proxy = result["spec"]["initContainers"][1]
    assert [i["value"] for i in proxy["env"] if i["name"] == "LINKERD2_PROXY_LOG"] == ["trace"]
    assert environment(result)["A"] == "b"


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        ("proxy-uid", "root"),
        ("default-inbound-policy", "open"),
        ("skip-inbound-ports", "80,http"),
        ("skip-outbound-ports", "90-80"),
        ("opaque-ports", "70000"),
        ("skip-subnets", "10.0.0.0/99"),
        ("proxy-cpu-request", "lots"),
        ("proxy-additional-env", "{"),
        ("proxy-enable-native-sidecar", "maybe"),
        ("proxy-outbound-connect-timeout", "1.5s"),
        ("image-pull-policy", "Sometimes"),
        ("inbound-port", "0"),
        ("proxy-log-level", ""),
    ],
)
def test_unusable_value_is_refused_with_its_annotation(annotation: str, value: str) -> None:
    document = pod({f"config.linkerd.io/{annotation}": value})
    with pytest.raises(InvalidInput) as caught:
        inject(document, ENABLED, Values(), trust_anchors_pem="PEM")
    assert f"config.linkerd.io/{annotation}" in str(caught.value)
    assert f'"{value}"' in str(caught.value)


def test_skipped_ports_bypass_the_sidecar() -> None:
    init = injected(pod({"config.linkerd.io/skip-inbound-ports": "9900,9901"}))["spec"][
        "initContainers"
    ][0]
    args = dict(zip(init["args"][1::2], init["args"][2::2], strict=True))
    assert args["--inbound-ports-to-ignore"] == "4190,4191,9900,9901"


def test_pod_learns_what_its_namespace_says() -> None:
    theirs = {
        "linkerd.io/inject": "enabled",
        "config.linkerd.io/opaque-ports": "7000",
        "config.linkerd.io/skip-outbound-ports": "25",
    }
    result = injected(
        pod({"config.linkerd.io/skip-outbound-ports": "26"}), {"metadata": {"annotations": theirs}}
    )
    annotations = result["metadata"]["annotations"]
    assert annotations["config.linkerd.io/opaque-ports"] == "7000"
    assert annotations["config.linkerd.io/skip-outbound-ports"] == "26"


def test_default_opaque_ports_are_noted_where_they_are_used() -> None:
    result = injected(pod(containers=[{"name": "db", "ports": [{"containerPort": 3306}]}]))
    assert result["metadata"]["annotations"]["config.linkerd.io/opaque-ports"] == "3306"


def test_user_hears_of_what_has_no_effect() -> None:
    document = pod({"config.linkerd.io/enable-debug-sidecar": "true"})
    document["spec"]["containers"][0]["ports"].append({"containerPort": 53, "protocol": "UDP"})
    done = inject(document, ENABLED, Values(), trust_anchors_pem="PEM")
    assert any("enable-debug-sidecar" in warning for warning in done.warnings)
    assert any("UDP port 53" in warning for warning in done.warnings)


def test_user_hears_of_what_the_proxy_does_not_do_yet() -> None:
    gateway = "config.linkerd.io/enable-gateway"
    done = inject(pod({gateway: "true"}), ENABLED, Values(), trust_anchors_pem="PEM")
    (warning,) = done.warnings
    assert warning.startswith(f"annotation {gateway}")
    assert "this mesh's proxy does not do that yet" in warning


def test_what_is_switched_off_is_not_missed() -> None:
    off = {"config.linkerd.io/enable-gateway": "false", "linkerd.io/inject": "enabled"}
    assert inject(pod(off), ENABLED, Values(), trust_anchors_pem="PEM").warnings == ()


def test_ingress_mode_is_an_annotation_value() -> None:
    done = inject(pod({"linkerd.io/inject": "ingress"}), ENABLED, Values(), trust_anchors_pem="PEM")
    assert done.warnings == ()
    env = environment(injected(pod({"linkerd.io/inject": "ingress"})))
    assert env["LINKERD2_PROXY_INGRESS_MODE"] == "true"


def test_ingress_mode_holds_for_every_pod_by_a_value() -> None:
    values = msgspec.structs.replace(Values(), proxy=Proxy(is_ingress=True))
    assert unheeded.of_values(values) == []
    env = environment(injected(pod(), values=values))
    assert env["LINKERD2_PROXY_INGRESS_MODE"] == "true"
    assert "LINKERD2_PROXY_INGRESS_MODE" not in environment(injected(pod()))


def test_values_hold_for_every_pod() -> None:
    values = msgspec.structs.replace(Values(), proxy=Proxy(uid=3000, native_sidecar=False))
    spec = injected(pod(), values=values)["spec"]
    assert spec["containers"][0]["securityContext"]["runAsUser"] == 3000


def test_service_inherits_opaque_ports() -> None:
    service = {"metadata": {"name": "db"}, "spec": {"ports": [{"port": 3306, "targetPort": 3306}]}}
    theirs = {"metadata": {"annotations": {"config.linkerd.io/opaque-ports": "9000"}}}
    own = inject_service(service, theirs, Values())
    default = inject_service(service, PLAIN, Values())
    path = "config.linkerd.io/opaque-ports"
    assert apply(service, own.patch)["metadata"]["annotations"][path] == "9000"
    assert apply(service, default.patch)["metadata"]["annotations"][path] == "3306"
    web = {"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}}
    assert inject_service(web, PLAIN, Values()).patch == ()
