"""kubectl finds out what there is, and how to print it."""

from __future__ import annotations

import pytest

from harness.cluster.embedded.api import jsonpath
from harness.cluster.embedded.api.columns import duration
from harness.cluster.embedded.api.pod_phase import pod_phase, ready_of

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
WIDGETS = "/apis/example.com/v1/namespaces/default/widgets"


def test_aggregated_discovery_is_told_by_its_content_type(api, make):
    api.post(CRDS, make.widget_crd())
    response = api.ask("GET", "/apis", headers={"accept": f"{AGGREGATED},application/json"})
    assert response.headers["content-type"] == AGGREGATED
    groups = {one["metadata"]["name"]: one["versions"] for one in response.json()["items"]}
    assert "apps" in groups
    assert [one["version"] for one in groups["example.com"]] == ["v1", "v1alpha1"]
    (widgets,) = groups["example.com"][0]["resources"]
    assert (widgets["resource"], widgets["scope"]) == ("widgets", "Namespaced")
    assert widgets["shortNames"] == ["wd"]
    assert [one["subresource"] for one in widgets["subresources"]] == ["status"]


def test_legacy_discovery_says_the_same(api):
    assert api.get("/api")["versions"] == ["v1"]
    assert "apps" in [one["name"] for one in api.get("/apis")["groups"]]
    assert api.get("/apis/apps")["preferredVersion"]["groupVersion"] == "apps/v1"
    names = [one["name"] for one in api.get("/apis/apps/v1")["resources"]]
    assert {"deployments", "deployments/status", "deployments/scale"} <= set(names)
    assert "pods/log" in [one["name"] for one in api.get("/api/v1")["resources"]]
    for path in ("/apis/nothing", "/apis/apps/v9", "/api/v9"):
        assert api.ask("GET", path).status_code == 404


def test_openapi_is_as_small_as_kubectl_takes_it(api, make):
    v2 = api.ask("GET", "/openapi/v2")
    media_type = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
    assert (v2.content, v2.headers["content-type"]) == (b"", media_type)
    api.post(CRDS, make.widget_crd())
    paths = api.get("/openapi/v3")["paths"]
    assert {"api/v1", "apis/apps/v1", "apis/example.com/v1"} <= set(paths)
    document = api.get(paths["apis/example.com/v1"]["serverRelativeURL"])
    ((_, operations),) = document["paths"].items()
    patch = operations["patch"]
    kind = {"group": "example.com", "version": "v1", "kind": "Widget"}
    assert patch["x-kubernetes-group-version-kind"] == kind
    assert "fieldValidation" in [one["name"] for one in patch["parameters"]]


def table(api, path, query=""):
    return api.get(f"{path}?{query}", headers={"accept": TABLE})


def cells(api, path):
    rows = table(api, path)
    names = [one["name"] for one in rows["columnDefinitions"]]
    return [dict(zip(names, row["cells"], strict=True)) for row in rows["rows"]]


def test_a_table_is_made_for_who_asks_for_one(api, make):
    api.post("/apis/apps/v1/namespaces/default/deployments", make.deployment(replicas=3))
    (row,) = cells(api, "/apis/apps/v1/deployments")
    assert (row["Name"], row["Ready"], row["Up-to-date"]) == ("web", "0/3", 0)
    assert (row["Containers"], row["Images"]) == ("app", "example/app:1")
    assert row["Selector"] == "app=web"
    assert api.get("/apis/apps/v1/deployments")["kind"] == "DeploymentList"


def test_a_row_has_the_object_that_was_asked_for(api, make):
    path = "/api/v1/namespaces/default/configmaps"
    api.post(path, make.config_map(a="1"))
    (row,) = table(api, path)["rows"]
    assert (row["object"]["kind"], row["object"]["metadata"]["name"]) == (
        "PartialObjectMetadata",
        "c",
    )
    (row,) = table(api, path, "includeObject=Object")["rows"]
    assert row["object"]["data"] == {"a": "1"}
    (row,) = table(api, path, "includeObject=None")["rows"]
    assert "object" not in row


def test_metadata_alone_is_given_to_who_asks_for_it(api, make):
    path = "/api/v1/namespaces/default/configmaps"
    created = api.post(path, make.config_map(a="1"))
    accept = "application/json;as=PartialObjectMetadata{};g=meta.k8s.io;v=v1,application/json"
    listed = api.get(path, headers={"accept": accept.format("List")})
    assert listed["kind"] == "PartialObjectMetadataList"
    expected = {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": created["metadata"],
    }
    assert listed["items"] == [expected]
    assert api.get(f"{path}/c", headers={"accept": accept.format("")}) == expected


def test_services_are_printed_as_kubectl_users_know_them(api):
    services = "/api/v1/namespaces/default/services"
    spec = {"ports": [{"port": 80}], "clusterIP": "10.96.0.7", "selector": {"a": "b"}}
    api.post(services, {"metadata": {"name": "a"}, "spec": spec})
    spec = {"type": "LoadBalancer", "ports": [{"port": 53, "protocol": "UDP", "nodePort": 30001}]}
    api.post(services, {"metadata": {"name": "b"}, "spec": {**spec, "clusterIP": "10.96.0.8"}})
    first, second = cells(api, services)
    assert (first["Cluster-IP"], first["External-IP"]) == ("10.96.0.7", "<none>")
    assert (first["Port(s)"], first["Selector"]) == ("80/TCP", "a=b")
    assert (second["External-IP"], second["Port(s)"]) == ("<pending>", "53:30001/UDP")


def test_custom_kinds_have_the_columns_of_their_crd(api, make):
    api.post(CRDS, make.widget_crd())
    api.post(WIDGETS, make.widget(size=7))
    conditions = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    path = f"{WIDGETS}/w/status"
    api.ask("PATCH", path, conditions, type_="application/merge-patch+json")
    assert cells(api, WIDGETS) == [{"Name": "w", "Size": 7, "Ready": "True"}]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (".a.b", [1]),
        ("{.a.b}", [1]),
        (".l[0].n", ["x"]),
        (".l[-1].n", ["y"]),
        (".l[*].n", ["x", "y"]),
        ('.l[?(@.n=="y")].v', [True]),
        (r".m.example\.com/x", []),
        (".m['example.com/x']", [5]),
        (".nothing.at.all", []),
        (".a[", []),
    ],
)
def test_paths_of_columns(path, expected):
    obj = {
        "a": {"b": 1},
        "l": [{"n": "x"}, {"n": "y", "v": True}],
        "m": {"example.com/x": 5},
    }
    assert jsonpath.found(obj, path) == expected


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (125, "2m5s"),
        (3599, "59m"),
        (4 * 3600 + 60, "4h1m"),
        (30 * 3600, "30h"),
        (3 * 86400, "3d"),
        (3 * 86400 + 3600, "3d1h"),
        (400 * 86400, "400d"),
        (3 * 365 * 86400, "3y"),
    ],
)
def test_durations_are_worded_as_kubectl_words_them(seconds, shown):
    assert duration(seconds) == shown


def running(**more):
    return {"name": "app", "ready": True, "state": {"running": {}}, **more}


@pytest.mark.parametrize(
    ("spec", "status", "phase"),
    [
        ({}, {"phase": "Pending"}, "Pending"),
        ({}, {"phase": "Running", "containerStatuses": [running()]}, "Running"),
        (
            {},
            {
                "containerStatuses": [
                    {"name": "app", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
                ]
            },
            "CrashLoopBackOff",
        ),
        (
            {},
            {
                "containerStatuses": [
                    {"name": "app", "state": {"terminated": {"reason": "Error", "exitCode": 1}}}
                ]
            },
            "Error",
        ),
        (
            {"initContainers": [{"name": "i"}, {"name": "j"}]},
            {"initContainerStatuses": [{"name": "i", "state": {"running": {}}}]},
            "Init:0/2",
        ),
        (
            {"initContainers": [{"name": "i"}]},
            {"initContainerStatuses": [{"name": "i", "state": {"terminated": {"exitCode": 3}}}]},
            "Init:ExitCode:3",
        ),
        (
            {"initContainers": [{"name": "proxy", "restartPolicy": "Always"}]},
            {
                "phase": "Running",
                "initContainerStatuses": [{**running(name="proxy"), "started": True}],
                "containerStatuses": [running()],
            },
            "Running",
        ),
    ],
)
def test_the_phase_of_a_pod_in_a_word(spec, status, phase):
    assert pod_phase({"metadata": {}, "spec": spec, "status": status}) == phase


def test_a_native_sidecar_counts_among_the_ready():
    spec = {
        "containers": [{"name": "app"}],
        "initContainers": [{"name": "init"}, {"name": "proxy", "restartPolicy": "Always"}],
    }
    status = {
        "initContainerStatuses": [{"name": "init", "ready": True}, running(name="proxy")],
        "containerStatuses": [running(ready=False)],
    }
    assert ready_of({"metadata": {}, "spec": spec, "status": status}) == "1/2"
