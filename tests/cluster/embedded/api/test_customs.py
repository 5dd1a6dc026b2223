"""Custom kinds are served as their CRD says, from the moment it is stored."""

from __future__ import annotations

import pytest

from harness.cluster.embedded.api import schemas

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
WIDGETS = "/apis/example.com/v1/namespaces/default/widgets"
MERGE = "application/merge-patch+json"


@pytest.fixture
def widgets(api, make):
    api.post(CRDS, make.widget_crd())
    return WIDGETS


def test_a_crd_is_established_and_served_at_once(api, make):
    api.post(CRDS, make.widget_crd())
    crd = api.get(f"{CRDS}/widgets.example.com")
    assert {one["type"]: one["status"] for one in crd["status"]["conditions"]} == {
        "NamesAccepted": "True",
        "Established": "True",
    }
    assert crd["status"]["storedVersions"] == ["v1"]
    assert api.get(WIDGETS)["kind"] == "WidgetList"


def test_an_instance_gets_its_defaults_and_loses_what_its_schema_does_not_know(api, make, widgets):
    created = api.post(widgets, make.widget(shape="round"))
    assert created["spec"] == {"size": 1, "color": "red"}
    strict = api.ask("POST", f"{widgets}?fieldValidation=Strict", make.widget("v", shape="round"))
    assert 'unknown field "spec.shape"' in strict.json()["message"]


@pytest.mark.parametrize(
    ("spec", "field", "message"),
    [
        ({"size": 0}, "spec.size", "should be greater than or equal to 1"),
        ({"size": "1"}, "spec.size", "must be of type integer"),
        ({"color": "green"}, "spec.color", 'Unsupported value: "green"'),
        ({"parts": [{"id": "a"}, {"id": "a"}]}, "spec.parts[1]", "Duplicate value"),
        ({"parts": {}}, "spec.parts", "must be of type array"),
    ],
)
def test_an_instance_that_breaks_its_schema_is_invalid(  # noqa: PLR0917
    api, make, widgets, spec, field, message
):
    response = api.ask("POST", widgets, make.widget(**spec))
    status = response.json()
    assert (response.status_code, status["reason"]) == (422, "Invalid")
    (cause,) = status["details"]["causes"]
    assert cause["field"] == field
    assert message in cause["message"]


def test_a_required_field_is_required(api, make, widgets):
    body = make.widget()
    del body["spec"]["size"]
    assert "spec.size: Required value" in api.ask("POST", widgets, body).json()["message"]


def test_each_version_serves_the_same_object_under_its_own_name(api, make, widgets):
    api.post(widgets, make.widget())
    older = widgets.replace("/v1/", "/v1alpha1/")
    assert api.get(f"{older}/w")["apiVersion"] == "example.com/v1alpha1"
    body = {**make.widget("x"), "apiVersion": "example.com/v1alpha1"}
    assert api.post(older, body)["apiVersion"] == "example.com/v1alpha1"
    assert api.get(f"{widgets}/x")["apiVersion"] == "example.com/v1"
    assert {one["apiVersion"] for one in api.get(older)["items"]} == {"example.com/v1alpha1"}
    patch = {"spec": {"size": 2}}
    patched = api.ask("PATCH", f"{older}/x", patch, type_=MERGE)
    assert patched.json()["apiVersion"] == "example.com/v1alpha1"


def test_status_is_apart_and_generation_follows_the_spec(api, make, widgets):
    api.post(widgets, {**make.widget(), "status": {"a": 1}})
    assert "status" not in api.get(f"{widgets}/w")
    api.ask("PATCH", f"{widgets}/w/status", {"status": {"a": 2}}, type_=MERGE)
    obj = api.get(f"{widgets}/w")
    assert (obj["status"], obj["metadata"]["generation"]) == ({"a": 2}, 1)
    api.ask("PATCH", f"{widgets}/w", {"spec": {"size": 2}}, type_=MERGE)
    assert api.get(f"{widgets}/w")["metadata"]["generation"] == 2


def test_a_crd_takes_its_instances_with_it(api, make, widgets):
    api.post(widgets, make.widget())
    assert api.ask("DELETE", f"{CRDS}/widgets.example.com").status_code == 200
    assert api.ask("GET", widgets).status_code == 404
    api.post(CRDS, make.widget_crd())
    assert api.get(widgets)["items"] == []


def test_a_crd_waits_for_instances_with_finalizers(api, make, widgets):
    body = make.widget()
    body["metadata"]["finalizers"] = ["example.com/f"]
    api.post(widgets, body)
    api.ask("DELETE", f"{CRDS}/widgets.example.com")
    assert api.get(f"{CRDS}/widgets.example.com")["metadata"]["deletionTimestamp"]
    api.ask("PATCH", f"{widgets}/w", {"metadata": {"finalizers": None}}, type_=MERGE)
    assert api.ask("GET", f"{CRDS}/widgets.example.com").status_code == 404


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ({"metadata": {"name": "x.example.com"}}, 422, "must be widgets.example.com"),
        ({"spec": {"scope": "Galaxy"}}, 422, "spec.scope: Unsupported value"),
        ({"spec": {"conversion": {"strategy": "Webhook"}}}, 501, "conversion webhooks"),
        ({"spec": {"versions": []}}, 422, "exactly one version marked as storage"),
        ({"spec": {"group": "example"}}, 422, "must be a domain name"),
        (
            {
                "metadata": {"name": "leases.coordination.k8s.io"},
                "spec": {
                    "group": "coordination.k8s.io",
                    "names": {"plural": "leases", "kind": "Lease"},
                },
            },
            422,
            "is a built-in kind",
        ),
    ],
)
def test_a_crd_that_cannot_be_served_is_refused(api, make, change, code, message):
    crd = make.widget_crd()
    for part, values in change.items():
        crd[part].update(values)
    response = api.ask("POST", CRDS, crd)
    assert response.status_code == code
    assert message in response.json()["message"]


def test_rules_that_are_not_evaluated_are_told(api, make):
    crd = make.widget_crd()
    schema = crd["spec"]["versions"][1]["schema"]["openAPIV3Schema"]
    schema["properties"]["spec"]["x-kubernetes-validations"] = [{"rule": "self.size > 0"}]
    response = api.ask("POST", CRDS, crd)
    assert response.status_code == 201
    assert "are not evaluated by the embedded engine" in response.headers["warning"]


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"type": "string", "pattern": "^a+$"}, "aa", "b"),
        ({"type": "string", "minLength": 2, "maxLength": 3}, "ab", "abcd"),
        ({"type": "string", "format": "date-time"}, "2026-01-01T00:00:00Z", "today"),
        ({"type": "number", "multipleOf": 2}, 4, 3),
        ({"type": "integer", "maximum": 3, "exclusiveMaximum": True}, 2, 3),
        ({"x-kubernetes-int-or-string": True}, "80", True),
        ({"type": "boolean"}, True, 1),
        ({"type": "array", "minItems": 1}, [1], []),
        ({"type": "object", "maxProperties": 1}, {"a": 1}, {"a": 1, "b": 2}),
        ({"type": "object", "additionalProperties": {"type": "string"}}, {"a": "b"}, {"a": 1}),
        ({"anyOf": [{"type": "string"}, {"type": "integer"}]}, 1, []),
        ({"oneOf": [{"required": ["a"]}, {"required": ["b"]}]}, {"a": 1}, {"a": 1, "b": 1}),
        ({"allOf": [{"required": ["a"]}, {"required": ["b"]}]}, {"a": 1, "b": 1}, {"a": 1}),
        ({"not": {"required": ["a"]}}, {"b": 1}, {"a": 1}),
        ({"type": "string", "nullable": True}, None, 1),
        ({"type": "array", "x-kubernetes-list-type": "set"}, [1, 2], [1, 1]),
    ],
)
def test_schemas(schema, good, bad):
    assert list(schemas.causes(good, schema)) == []
    assert list(schemas.causes(bad, schema)) != []
