"""The four patch types do what their specifications say."""

from __future__ import annotations

import pytest

from harness.cluster.embedded.api import jsonpatch, strategic
from harness.cluster.embedded.api.lists import ListKinds
from harness.cluster.embedded.kinds import BUILT_IN
from harness.cluster.embedded.resources import Registry
from harness.cluster.embedded.status import BadRequest, Unprocessable

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
STRATEGIC = "application/strategic-merge-patch+json"
MERGE = "application/merge-patch+json"
JSON = "application/json-patch+json"

KINDS = ListKinds(Registry(BUILT_IN)["apps", "deployments"])


@pytest.mark.parametrize(
    ("document", "operations", "expected"),
    [
        ({"a": 1}, [{"op": "add", "path": "/b", "value": 2}], {"a": 1, "b": 2}),
        ({"a": [1, 3]}, [{"op": "add", "path": "/a/1", "value": 2}], {"a": [1, 2, 3]}),
        ({"a": [1]}, [{"op": "add", "path": "/a/-", "value": 2}], {"a": [1, 2]}),
        ({"a": [1, 2]}, [{"op": "remove", "path": "/a/0"}], {"a": [2]}),
        ({"a": [1, 2]}, [{"op": "replace", "path": "/a/1", "value": 9}], {"a": [1, 9]}),
        ({"x/y": {"~": 1}}, [{"op": "replace", "path": "/x~1y/~0", "value": 2}], {"x/y": {"~": 2}}),
        ({"a": 1}, [{"op": "move", "from": "/a", "path": "/b"}], {"b": 1}),
        (
            {"a": {"b": 1}},
            [{"op": "copy", "from": "/a", "path": "/c"}],
            {"a": {"b": 1}, "c": {"b": 1}},
        ),
        ({"a": 1}, [{"op": "test", "path": "/a", "value": 1}], {"a": 1}),
        ({"a": 1}, [{"op": "add", "path": "", "value": []}], []),
    ],
)
def test_json_patch(document, operations, expected):
    assert jsonpatch.applied(document, operations) == expected


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/a", "value": 2},
        {"op": "remove", "path": "/b"},
        {"op": "replace", "path": "/b", "value": 1},
        {"op": "add", "path": "/l/5", "value": 1},
        {"op": "add", "path": "/l/-1", "value": 1},
        {"op": "remove", "path": "/l/-"},
        {"op": "add", "path": "a", "value": 1},
        {"op": "add", "path": "/a/b", "value": 1},
        {"op": "sing", "path": "/a"},
        {"op": "add", "path": "/a"},
        {},
        7,
    ],
)
def test_a_json_patch_that_cannot_be_applied_is_quoted_and_changes_nothing(operation):
    document = {"a": 1, "l": [1]}
    with pytest.raises(Unprocessable, match="cannot be applied"):
        jsonpatch.applied(document, [{"op": "add", "path": "/c", "value": 1}, operation])
    assert document == {"a": 1, "l": [1]}


def test_merge_patch_is_that_of_the_rfc():
    target = {"a": "b", "c": {"d": "e", "f": "g"}}
    patch = {"a": "z", "c": {"f": None}, "n": {"x": None}}
    assert jsonpatch.merged(target, patch) == {"a": "z", "c": {"d": "e"}, "n": {}}


def containers(*items):
    return {"spec": {"template": {"spec": {"containers": list(items)}}}}


@pytest.mark.parametrize(
    ("target", "patch", "expected"),
    [
        (
            [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}],
            [{"name": "b", "image": "2"}],
            [{"name": "a", "image": "1"}, {"name": "b", "image": "2"}],
        ),
        ([{"name": "a"}], [{"name": "b"}], [{"name": "a"}, {"name": "b"}]),
        ([{"name": "a"}, {"name": "b"}], [{"name": "a", "$patch": "delete"}], [{"name": "b"}]),
        ([{"name": "a"}], [{"$patch": "replace"}, {"name": "c"}], [{"name": "c"}]),
        (
            [{"name": "a", "args": ["1"], "env": [{"name": "X", "value": "1"}]}],
            [{"name": "a", "args": ["2"], "env": [{"name": "Y", "value": "2"}]}],
            [
                {
                    "name": "a",
                    "args": ["2"],
                    "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}],
                }
            ],
        ),
        (
            [{"name": "a", "ports": [{"containerPort": 1, "name": "x"}]}],
            [{"name": "a", "ports": [{"containerPort": 1, "name": None}, {"containerPort": 2}]}],
            [{"name": "a", "ports": [{"containerPort": 1}, {"containerPort": 2}]}],
        ),
    ],
)
def test_strategic_merge_knows_which_lists_are_maps(target, patch, expected):
    result = strategic.patched(KINDS, containers(*target), containers(*patch))
    assert result == containers(*expected)


def test_strategic_merge_obeys_its_directives():
    target = {
        "metadata": {"finalizers": ["a", "b"]},
        "spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}},
    }
    patch = {
        "metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["c"]},
        "spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}},
    }
    assert strategic.patched(KINDS, target, patch) == {
        "metadata": {"finalizers": ["b", "c"]},
        "spec": {"strategy": {"type": "Recreate"}},
    }
    order = {"spec": {"template": {"spec": {"$setElementOrder/containers": [{"name": "b"}]}}}}
    ordered = strategic.patched(KINDS, containers({"name": "a"}, {"name": "b"}), order)
    assert ordered == containers({"name": "b"}, {"name": "a"})


def test_strategic_merge_refuses_an_item_without_its_key():
    with pytest.raises(BadRequest, match="declared merge key: name"):
        strategic.patched(KINDS, {}, containers({"image": "x"}))


def test_a_patch_that_changes_nothing_leaves_version_and_generation(api, make):
    created = api.post(DEPLOYMENTS, make.deployment())
    patch = {"spec": {"replicas": 1}}
    assert api.ask("PATCH", f"{DEPLOYMENTS}/web", patch, type_=STRATEGIC).json() == created


def test_a_patch_with_a_stale_version_is_a_conflict(api, make):
    created = api.post(CONFIG_MAPS, make.config_map())
    version = created["metadata"]["resourceVersion"]
    patch = {"metadata": {"resourceVersion": version}, "data": {"a": "1"}}
    assert api.ask("PATCH", f"{CONFIG_MAPS}/c", patch, type_=MERGE).status_code == 200
    patch["data"]["a"] = "2"
    assert api.ask("PATCH", f"{CONFIG_MAPS}/c", patch, type_=MERGE).status_code == 409


@pytest.mark.parametrize(
    ("type_", "body", "code"),
    [
        (JSON, [{"op": "remove", "path": "/nope"}], 422),
        (JSON, {"op": "remove"}, 400),
        (JSON, [{"op": "replace", "path": "/metadata/name", "value": "other"}], 400),
        (JSON, [{"op": "remove", "path": "/metadata"}], 400),
        (MERGE, [], 400),
        (STRATEGIC, [], 400),
        ("application/json", {}, 415),
    ],
)
def test_a_patch_that_makes_no_sense_is_refused(api, make, type_, body, code):
    api.post(CONFIG_MAPS, make.config_map())
    response = api.ask("PATCH", f"{CONFIG_MAPS}/c", body, type_=type_)
    assert response.status_code == code, response.text


def test_a_strategic_patch_of_a_custom_resource_is_unsupported(api, make):
    api.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", make.widget_crd())
    widgets = "/apis/example.com/v1/namespaces/default/widgets"
    api.post(widgets, make.widget())
    patch = {"spec": {"size": 2}}
    assert api.ask("PATCH", f"{widgets}/w", patch, type_=STRATEGIC).status_code == 415
    assert api.ask("PATCH", f"{widgets}/w", patch, type_=MERGE).json()["spec"]["size"] == 2
