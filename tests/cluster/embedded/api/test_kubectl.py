"""An unmodified kubectl works against the API server, and says what it cannot do."""

from __future__ import annotations

import json
import os
import subprocess

import pytest


class Kubectl:
    def __init__(self, program, served, home):
        self.program = program
        self.served = served
        self._environment = {**os.environ, "HOME": str(home), "KUBECONFIG": str(served.kubeconfig)}

    def start(self, *arguments):
        return subprocess.Popen(
            [self.program, *arguments],
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments, stdin=None):
        process = self.start(*arguments)
        stdout, stderr = process.communicate(stdin, timeout=20)
        return process.returncode, stdout, stderr

    def __call__(self, *arguments, objects=()):
        stdin = "\n".join(json.dumps(one) for one in objects) or None
        code, stdout, stderr = self.run(*arguments, stdin=stdin)
        assert code == 0, stderr
        return stdout

    def fails(self, *arguments, objects=()):
        stdin = "\n".join(json.dumps(one) for one in objects) or None
        code, stdout, stderr = self.run(*arguments, stdin=stdin)
        assert code != 0, stdout
        return stderr


@pytest.fixture
def kubectl(kubectl_program, served, tmp_path):
    return Kubectl(kubectl_program, served, tmp_path)


def test_apply_is_idempotent_and_follows_the_manifest(kubectl, make):
    objects = [make.config_map(a="1", b="2"), make.deployment()]
    created = ["configmap/c created", "deployment.apps/web created"]
    assert kubectl("apply", "-f", "-", objects=objects).splitlines() == created
    unchanged = ["configmap/c unchanged", "deployment.apps/web unchanged"]
    assert kubectl("apply", "-f", "-", objects=objects).splitlines() == unchanged
    kubectl("apply", "-f", "-", objects=[make.config_map(a="1")])
    assert kubectl("get", "cm", "c", "-o", "jsonpath={.data}") == '{"a":"1"}'


def test_a_misspelt_field_is_named(kubectl, make):
    body = make.deployment()
    body["spec"]["replica"] = 2
    assert 'unknown field "spec.replica"' in kubectl.fails("apply", "-f", "-", objects=[body])


def test_a_crd_is_usable_at_once_and_before_that_named_as_missing(kubectl, make):
    missing = kubectl.fails("apply", "-f", "-", objects=[make.widget()])
    assert "ensure CRDs are installed first" in missing
    kubectl("apply", "-f", "-", objects=[make.widget_crd()])
    kubectl("wait", "--for=condition=Established", "crd/widgets.example.com", "--timeout=5s")
    kubectl("apply", "-f", "-", objects=[make.widget()])
    assert kubectl("get", "wd").splitlines()[0].split() == ["NAME", "SIZE", "READY"]


def test_applying_on_the_server_removes_what_is_dropped_and_reports_conflicts(kubectl, make):
    server = ("apply", "--server-side", "-f", "-")
    kubectl(*server, objects=[make.config_map(a="1", b="2")])
    kubectl(*server, objects=[make.config_map(a="1")])
    assert kubectl("get", "cm", "c", "-o", "jsonpath={.data}") == '{"a":"1"}'
    other = ("--field-manager=other", *server[1:])
    conflict = kubectl.fails("apply", *other, objects=[make.config_map(a="2")])
    assert 'conflict with "kubectl": .data.a' in conflict


def test_an_object_of_client_side_apply_moves_to_the_server_once(kubectl, make):
    kubectl("apply", "-f", "-", objects=[make.config_map(a="1", b="2")])
    server = ("apply", "--server-side", "-f", "-")
    kubectl(*server, objects=[make.config_map(a="1", b="2")])
    kubectl(*server, objects=[make.config_map(a="1")])
    assert kubectl("get", "cm", "c", "-o", "jsonpath={.data}") == '{"a":"1"}'
    entries = json.loads(kubectl("get", "cm", "c", "-o", "json", "--show-managed-fields"))
    managers = [one["manager"] for one in entries["metadata"]["managedFields"]]
    assert "kubectl-client-side-apply" not in managers


def test_scale_annotate_and_label(kubectl, make):
    kubectl("apply", "-f", "-", objects=[make.deployment()])
    kubectl("scale", "deployment/web", "--replicas=4")
    kubectl("annotate", "namespace", "default", "linkerd.io/inject=enabled")
    kubectl("label", "deployment", "web", "tier=back")
    found = json.loads(kubectl("get", "deployment", "web", "-o", "json"))
    assert (found["spec"]["replicas"], found["metadata"]["generation"]) == (4, 2)
    assert found["metadata"]["labels"] == {"tier": "back"}
    namespace = json.loads(kubectl("get", "namespace", "default", "-o", "json"))
    assert namespace["metadata"]["annotations"] == {"linkerd.io/inject": "enabled"}


def test_patches(kubectl, make):
    kubectl("apply", "-f", "-", objects=[make.deployment()])
    kubectl("set", "image", "deployment/web", "app=example/app:2")
    kubectl("patch", "deployment", "web", "-p", '{"spec":{"paused":true}}')
    found = json.loads(kubectl("get", "deployment", "web", "-o", "json"))
    assert (found["spec"]["paused"], found["metadata"]["generation"]) == (True, 3)
    assert found["spec"]["template"]["spec"]["containers"][0]["image"] == "example/app:2"


def test_rollout_status_follows_a_deployment_until_it_is_done(kubectl, make):
    kubectl("apply", "-f", "-", objects=[make.deployment(replicas=2)])
    following = kubectl.start("rollout", "status", "deployment/web", "--timeout=10s")
    try:
        seen = [following.stdout.readline()]
        _set_status(kubectl, "deployments", "web", observedGeneration=1, replicas=2, **_ready(1))
        seen.append(following.stdout.readline())
        _set_status(kubectl, "deployments", "web", observedGeneration=1, replicas=2, **_ready(2))
        rest, told = following.communicate(timeout=10)
    finally:
        following.kill()
        following.communicate()
    assert (following.returncode, told) == (0, "")
    assert "Waiting for deployment spec update to be observed" in seen[0]
    assert "1 of 2 updated replicas are available" in seen[1]
    assert 'deployment "web" successfully rolled out' in rest


def test_rollout_status_ends_in_time(kubectl, make):
    kubectl("apply", "-f", "-", objects=[make.deployment()])
    late = kubectl.fails("rollout", "status", "deployment/web", "--timeout=1s")
    assert "timed out" in late


def _ready(count):
    return {"updatedReplicas": 2, "readyReplicas": count, "availableReplicas": count}


def _set_status(kubectl, plural, name, **status):
    store, kind = kubectl.served.api.store, ("apps" if plural == "deployments" else "", plural)
    stored = store.get(kind, "default", name)
    changed = {**stored, "status": status}
    kubectl.served.on_loop(store.update, kind, changed, subresource="status")


def test_get_all_and_watch(kubectl, make):
    kubectl("apply", "-f", "-", objects=[make.deployment()])
    assert "deployment.apps/web" in kubectl("get", "all", "-A")
    watch = kubectl.start("get", "configmaps", "-w")
    try:
        create = kubectl.served.api.store.create
        kubectl.served.on_loop(create, ("", "configmaps"), _in_default(make.config_map("seen")))
        header, row = watch.stdout.readline(), watch.stdout.readline()
    finally:
        watch.terminate()
        watch.communicate()
    assert header.split() == ["NAME", "DATA", "AGE"]
    assert row.split()[:2] == ["seen", "0"]


def _in_default(obj):
    obj["metadata"]["namespace"] = "default"
    return obj


def test_deleting_waits_until_all_is_gone(kubectl, make):
    kubectl("apply", "-f", "-", objects=[{**_pod(make), "metadata": {"name": "p"}}])
    assert 'pod "p" deleted' in kubectl("delete", "pod", "p")
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x"}}
    kubectl("apply", "-f", "-", objects=[namespace])
    kubectl("delete", "namespace", "x", "--timeout=5s")
    assert "not found" in kubectl.fails("get", "namespace", "x")


def _pod(make):
    return {"apiVersion": "v1", "kind": "Pod", **make.pod()}


def test_logs_and_describe(kubectl, make):
    kubectl("apply", "-f", "-", objects=[_pod(make)])
    kubectl.served.api.node.lines["app"] = [b"hello\n"]
    assert kubectl("logs", "p") == "hello\n"
    assert kubectl("logs", "-f", "p") == "hello\n"
    assert "kube-api-access-" in kubectl("describe", "pod", "p")


def test_what_is_not_supported_says_what_to_do(kubectl, make):
    kubectl("apply", "-f", "-", objects=[_pod(make)])
    created = kubectl.fails("create", "namespace", "x")
    assert "write the object as a manifest and use `kubectl apply -f`" in created
    _set_status(kubectl, "pods", "p", phase="Running")
    told = kubectl.fails("exec", "p", "--", "ls")
    assert "exec is not supported by this server: look at the pod from outside" in told
    assert "(kubectl logs, the pod proxy), or run another pod" in told
    told = kubectl.fails("attach", "p")
    assert "attach is not supported by this server: use kubectl logs -f" in told
    told = kubectl.fails("port-forward", "p", "8080:80")
    assert "portforward is not supported by this server: use the proxy of the API: " in told
    assert "kubectl get --raw /api/v1/namespaces/NAMESPACE/pods/POD:PORT/proxy/PATH" in told


def test_dry_runs_and_differences(kubectl, make):
    kubectl("apply", "-f", "-", objects=[make.config_map(a="1")])
    changed = [make.config_map(a="2")]
    shown = kubectl("apply", "--dry-run=server", "-f", "-", objects=changed)
    assert shown == "configmap/c configured (server dry run)\n"
    code, stdout, _ = kubectl.run("diff", "-f", "-", stdin=json.dumps(changed[0]))
    assert code == 1
    assert '+  a: "2"' in stdout
    assert kubectl("get", "cm", "c", "-o", "jsonpath={.data.a}") == "1"
