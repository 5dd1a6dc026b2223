"""Server-side apply: who owns what, what goes, what conflicts."""

from __future__ import annotations

import pytest

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
APPLY = "application/apply-patch+yaml"


def apply(api, path, obj, manager="m", *, force=False):
    query = f"fieldManager={manager}&force={str(force).lower()}"
    return api.ask("PATCH", f"{path}/{obj['metadata']['name']}?{query}", obj, type_=APPLY)


def applied(api, path, obj, manager="m", **kwargs):
    response = apply(api, path, obj, manager, **kwargs)
    assert response.status_code in {200, 201}, response.text
    return response.json()


def test_what_a_manager_no_longer_applies_goes(api, make):
    assert apply(api, CONFIG_MAPS, make.config_map(a="1", b="2")).status_code == 201
    assert applied(api, CONFIG_MAPS, make.config_map(a="1"))["data"] == {"a": "1"}


def test_what_another_manager_applies_too_stays(api, make):
    applied(api, CONFIG_MAPS, make.config_map(a="1", b="2"), "one")
    applied(api, CONFIG_MAPS, make.config_map(b="2", c="3"), "two")
    assert applied(api, CONFIG_MAPS, make.config_map(a="1"), "one")["data"] == {
        "a": "1",
        "b": "2",
        "c": "3",
    }


def test_another_value_for_what_another_owns_is_a_conflict_that_names_both(api, make):
    applied(api, CONFIG_MAPS, make.config_map(a="1"), "one")
    response = apply(api, CONFIG_MAPS, make.config_map(a="2"), "two")
    status = response.json()
    assert (response.status_code, status["reason"]) == (409, "Conflict")
    assert status["message"] == 'Apply failed with 1 conflict: conflict with "one": .data.a'
    assert status["details"]["causes"] == [
        {"reason": "FieldManagerConflict", "message": 'conflict with "one"', "field": ".data.a"}
    ]
    assert applied(api, CONFIG_MAPS, make.config_map(a="2"), "two", force=True)["data"]["a"] == "2"
    assert apply(api, CONFIG_MAPS, make.config_map(a="1"), "one").status_code == 409


def test_a_plain_write_takes_over_what_it_changes(api, make):
    applied(api, CONFIG_MAPS, make.config_map(a="1", b="1"))
    patch = {"data": {"a": "2"}}
    path = f"{CONFIG_MAPS}/c?fieldManager=editor"
    api.ask("PATCH", path, patch, type_="application/merge-patch+json")
    response = apply(api, CONFIG_MAPS, make.config_map(a="1", b="1"))
    assert 'conflict with "editor" using v1: .data.a' in response.json()["message"]


def test_applying_the_same_again_changes_nothing(api, make):
    first = applied(api, DEPLOYMENTS, make.deployment())
    assert applied(api, DEPLOYMENTS, make.deployment()) == first


def test_items_of_keyed_lists_are_owned_one_by_one(api, make):
    obj = make.deployment()
    containers = obj["spec"]["template"]["spec"]["containers"]
    containers.append({"name": "sidecar", "image": "example/sidecar:1"})
    applied(api, DEPLOYMENTS, obj)
    other = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "template": {
                "spec": {"containers": [{"name": "app", "env": [{"name": "A", "value": "1"}]}]}
            }
        },
    }
    applied(api, DEPLOYMENTS, other, "other")
    del containers[1]
    result = applied(api, DEPLOYMENTS, obj)
    (container,) = result["spec"]["template"]["spec"]["containers"]
    assert (container["name"], container["env"]) == ("app", [{"name": "A", "value": "1"}])


def test_lists_of_custom_resources_follow_their_schema(api, make):
    api.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", make.widget_crd())
    widgets = "/apis/example.com/v1/namespaces/default/widgets"
    applied(api, widgets, make.widget(parts=[{"id": "a", "n": 1}]), "one")
    applied(api, widgets, make.widget(parts=[{"id": "b", "n": 2}]), "two")
    result = applied(api, widgets, make.widget(), "one")
    assert result["spec"]["parts"] == [{"id": "b", "n": 2}]


def test_status_is_applied_through_its_subresource(api, make):
    api.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", make.widget_crd())
    widgets = "/apis/example.com/v1/namespaces/default/widgets"
    applied(api, widgets, make.widget(), "one")

    def apply_status(**status):
        body = {**make.widget(), "status": status}
        del body["spec"]
        path = f"{widgets}/w/status?fieldManager=controller"
        return api.ask("PATCH", path, body, type_=APPLY).json()

    apply_status(a="1", b="2")
    assert apply_status(a="1")["status"] == {"a": "1"}
    result = applied(api, widgets, make.widget(size=2), "one")
    assert (result["spec"]["size"], result["status"]) == (2, {"a": "1"})


@pytest.mark.parametrize(
    ("query", "change", "message"),
    [
        ("", {}, "fieldManager: Required value"),
        ("fieldManager=m", {"kind": "Secret"}, "the request is for v1 ConfigMap"),
        ("fieldManager=m", {"metadata": {"name": "d"}}, "is not 'c'"),
        (
            "fieldManager=m",
            {"metadata": {"managedFields": [{"manager": "x"}]}},
            "managedFields must be nil",
        ),
    ],
)
def test_an_apply_that_makes_no_sense_is_refused(api, make, query, change, message):
    body = {**make.config_map(), **change}
    response = api.ask("PATCH", f"{CONFIG_MAPS}/c?{query}", body, type_=APPLY)
    assert response.status_code == 400
    assert message in response.json()["message"]
