"""Built-in kinds get their defaults, and mistakes in them are named by field."""

from __future__ import annotations

import pytest

from harness.cluster.embedded.api import typed
from harness.cluster.embedded.kinds import BUILT_IN

PODS = "/api/v1/namespaces/default/pods"
SERVICES = "/api/v1/namespaces/default/services"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
SECRETS = "/api/v1/namespaces/default/secrets"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
MERGE = "application/merge-patch+json"


def service(name="s", **spec):
    given = {"ports": [{"port": 80}], **spec}
    return {"metadata": {"name": name}, "spec": given}


def test_a_pod_gets_the_defaults_that_clients_notice(api, make):
    pod = api.post(PODS, make.pod())
    spec, container = pod["spec"], pod["spec"]["containers"][0]
    assert spec["restartPolicy"] == "Always"
    assert spec["terminationGracePeriodSeconds"] == 30
    assert spec["dnsPolicy"] == "ClusterFirst"
    assert spec["serviceAccountName"] == "default"
    assert container["imagePullPolicy"] == "IfNotPresent"
    assert pod["status"] == {"phase": "Pending", "qosClass": "BestEffort"}


def test_a_pod_gets_a_token_unless_it_declines(api, make):
    spec = api.post(PODS, make.pod())["spec"]
    (volume,) = spec["volumes"]
    (mount,) = spec["containers"][0]["volumeMounts"]
    assert mount["mountPath"] == "/var/run/secrets/kubernetes.io/serviceaccount"
    assert mount["name"] == volume["name"]
    assert "serviceAccountToken" in volume["projected"]["sources"][0]
    declined = api.post(PODS, make.pod("q", automountServiceAccountToken=False))
    assert "volumes" not in declined["spec"]


def test_a_pod_of_an_unknown_account_is_forbidden(api, make):
    response = api.ask("POST", PODS, make.pod(serviceAccountName="nobody"))
    assert response.status_code == 403
    assert 'serviceaccount "nobody" not found' in response.json()["message"]


def test_a_deployment_gets_its_defaults(api, make):
    spec = api.post(DEPLOYMENTS, make.deployment())["spec"]
    assert (spec["replicas"], spec["progressDeadlineSeconds"]) == (1, 600)
    assert spec["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"},
    }


def test_services_get_addresses_of_their_own_and_keep_them(api):
    first = api.post(SERVICES, service("a"))["spec"]
    second = api.post(SERVICES, service("b"))["spec"]
    assert first["clusterIP"].startswith("10.96.")
    assert first["clusterIP"] != second["clusterIP"]
    assert first["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]
    replaced = api.ask("PUT", f"{SERVICES}/a", service("a", selector={"x": "y"})).json()["spec"]
    assert replaced["clusterIP"] == first["clusterIP"]


def test_a_service_may_ask_for_an_address_or_for_none(api):
    assert api.post(SERVICES, service("dns", clusterIP="10.96.0.10"))["spec"]["clusterIPs"] == [
        "10.96.0.10"
    ]
    assert api.post(SERVICES, service("h", clusterIP="None"))["spec"]["clusterIP"] == "None"
    taken = api.ask("POST", SERVICES, service("x", clusterIP="10.96.0.10"))
    assert "provided IP is already allocated" in taken.json()["message"]
    outside = api.ask("POST", SERVICES, service("x", clusterIP="192.0.2.1"))
    assert "not in the valid range" in outside.json()["message"]


def test_a_node_port_is_given_once(api):
    first = api.post(SERVICES, service("a", type="NodePort"))["spec"]["ports"][0]["nodePort"]
    second = api.post(SERVICES, service("b", type="NodePort"))["spec"]["ports"][0]["nodePort"]
    assert 30000 <= first < 32768
    assert first != second


def test_plain_text_in_a_secret_is_encoded(api):
    secret = api.post(SECRETS, {"metadata": {"name": "s"}, "stringData": {"k": "v"}})
    assert (secret["type"], secret["data"]) == ("Opaque", {"k": "dg=="})
    assert "stringData" not in secret


@pytest.mark.parametrize(
    ("spec", "field", "message"),
    [
        ({"containers": []}, "spec.containers", "Required value"),
        ({"containers": [{"image": "x"}]}, "spec.containers[0].name", "Required value"),
        ({"containers": [{"name": "a"}]}, "spec.containers[0].image", "Required value"),
        ({"restartPolicy": "Maybe"}, "spec.restartPolicy", 'Unsupported value: "Maybe"'),
        (
            {"containers": [{"name": "a", "image": "x"}, {"name": "a", "image": "x"}]},
            "spec.containers[1].name",
            'Duplicate value: "a"',
        ),
        (
            {
                "containers": [
                    {"name": "a", "image": "x", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}
                ]
            },
            "spec.containers[0].volumeMounts[0].name",
            'Not found: "v"',
        ),
        (
            {"containers": [{"name": "a", "image": "x", "ports": [{"containerPort": 0}]}]},
            "spec.containers[0].ports[0].containerPort",
            "between 1 and 65535",
        ),
        (
            {"containers": [{"name": "a", "image": "x", "resources": {"limits": {"cpu": "x"}}}]},
            "spec.containers[0].resources.limits.cpu",
            "quantities must match",
        ),
        (
            {"containers": [{"name": "a", "image": "x", "livenessProbe": {}}]},
            "spec.containers[0].livenessProbe",
            "must specify a handler type",
        ),
        (
            {
                "containers": [
                    {
                        "name": "a",
                        "image": "x",
                        "lifecycle": {"preStop": {"sleep": {"seconds": 31}}},
                    }
                ]
            },
            "spec.containers[0].lifecycle.preStop.sleep",
            "terminationGracePeriodSeconds (30)",
        ),
    ],
)
def test_a_mistake_in_a_pod_is_named_by_field(api, make, spec, field, message):
    response = api.ask("POST", PODS, make.pod(automountServiceAccountToken=False, **spec))
    status = response.json()
    assert (response.status_code, status["reason"]) == (422, "Invalid"), status
    cause = status["details"]["causes"][0]
    assert cause["field"] == field
    assert message in cause["message"]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"selector": None}, "spec.selector: Required value"),
        ({"selector": {"matchLabels": {"a": "b"}}}, "`selector` does not match template `labels`"),
        ({"replicas": -1}, "must be greater than or equal to 0"),
        ({"template": None}, "spec.template: Required value"),
    ],
)
def test_a_mistake_in_a_deployment_is_named_by_field(api, make, spec, message):
    response = api.ask("POST", DEPLOYMENTS, make.deployment(**spec))
    assert response.status_code == 422
    assert message in response.json()["message"]


def test_what_cannot_change_does_not(api, make):
    api.post(DEPLOYMENTS, make.deployment())
    api.post(PODS, make.pod())
    patch = {"spec": {"selector": {"matchLabels": {"app": "other"}}}}
    response = api.ask("PATCH", f"{DEPLOYMENTS}/web", patch, type_=MERGE)
    assert "spec.selector: Invalid value: field is immutable" in response.json()["message"]
    response = api.ask("PATCH", f"{PODS}/p", {"spec": {"hostname": "h"}}, type_=MERGE)
    assert "pod updates may not change fields" in response.json()["message"]


def test_a_field_of_the_wrong_type_is_named(api, make):
    body = make.deployment(replicas="two")
    message = api.ask("POST", DEPLOYMENTS, body).json()["message"]
    assert "cannot unmarshal string into Go struct field Deployment.spec.replicas" in message


def test_a_misspelt_field_is_named_by_its_path(api, make):
    body = make.deployment()
    body["spec"]["template"]["spec"]["containers"][0]["imge"] = "x"
    response = api.ask("POST", f"{DEPLOYMENTS}?fieldValidation=Strict", body)
    assert 'unknown field "spec.template.spec.containers[0].imge"' in response.json()["message"]


def test_the_fields_of_every_built_in_kind_are_known():
    unknown = [one.kind for one in BUILT_IN if typed.model(one) is None]
    assert unknown == []


@pytest.mark.parametrize(
    "metadata",
    [
        {"labels": {"a b": "c"}},
        {"labels": {"a": "c d"}},
        {"annotations": {"a/b/c": "d"}},
        {"name": "UPPER"},
        {"ownerReferences": [{"kind": "Pod", "name": "p", "apiVersion": "v1", "uid": ""}]},
    ],
)
def test_metadata_are_checked_for_every_kind(api, metadata):
    body = {"metadata": {"name": "s", **metadata}}
    assert api.ask("POST", SECRETS, body).status_code == 422


def test_what_should_be_base64_and_is_not_is_refused(api):
    for path, kind, field in (
        (SECRETS, "Secret", "data"),
        (CONFIG_MAPS, "ConfigMap", "binaryData"),
    ):
        obj = {"kind": kind, "metadata": {"name": "a"}, field: {"good": "YQ==", "bad": "a!"}}
        response = api.ask("POST", path, obj)
        assert response.status_code == 422
        assert f"{field}[bad]: Invalid value: illegal base64 data" in response.json()["message"]
    api.post(CONFIG_MAPS, {"metadata": {"name": "text"}, "data": {"a": "no base64!"}})
