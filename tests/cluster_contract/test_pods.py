"""What a pod's specification promises its containers."""

from __future__ import annotations

import json

import pytest
from lightkube.resources.core_v1 import ConfigMap, Event, Pod, Secret

from harness.waiting import until

pytestmark = pytest.mark.cluster


def test_environment_comes_from_everywhere(bench) -> None:
    bench.apply("""
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {COLOR: red, size: "3"}
---
apiVersion: v1
kind: Secret
metadata: {name: keys}
stringData: {password: opensesame}
""")
    said = bench.output(
        "env",
        "env",
        annotations={"team": "blue"},
        container={
            "envFrom": [{"configMapRef": {"name": "settings"}, "prefix": "CM_"}],
            "env": [
                {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                {
                    "name": "TEAM",
                    "valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['team']"}},
                },
                {
                    "name": "SIZE",
                    "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "size"}},
                },
                {
                    "name": "PASSWORD",
                    "valueFrom": {"secretKeyRef": {"name": "keys", "key": "password"}},
                },
                {"name": "ALL", "value": "$(TEAM)-$(SIZE)-$(UNKNOWN)-$$(TEAM)"},
            ],
        },
    )
    env = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)

    assert env["CM_COLOR"] == "red"
    assert env["IP"] == bench.show("env").status.podIP
    assert env["TEAM"] == "blue"
    assert env["PASSWORD"] == "opensesame"
    assert env["ALL"] == "blue-3-$(UNKNOWN)-$(TEAM)"
    assert env["KUBERNETES_SERVICE_HOST"] == "10.96.0.1"


def test_a_changed_config_map_shows_in_its_volume(bench) -> None:
    bench.apply("""
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {color: red}
""")
    bench.pod(
        "reader",
        "while :; do cat /settings/color; echo; sleep 0.05; done",
        volumes=[{"name": "settings", "configMap": {"name": "settings"}}],
        container={"volumeMounts": [{"name": "settings", "mountPath": "/settings"}]},
    )
    bench.says("reader", "red")
    found = bench.client.get(ConfigMap, "settings", namespace=bench.namespace)
    found.data = {"color": "blue"}
    bench.client.replace(found)

    bench.says("reader", "blue")


def test_a_projected_token_has_its_audience_and_its_pod(bench) -> None:
    source = {
        "serviceAccountToken": {"path": "token", "audience": "mesh", "expirationSeconds": 600}
    }
    said = bench.output(
        "holder",
        "cut -d. -f2 /token/token | tr '_-' '/+' | python3 -c 'import base64,sys; "
        'print(base64.b64decode(sys.stdin.read().strip() + "==").decode())\'',
        volumes=[{"name": "token", "projected": {"sources": [source]}}],
        container={"volumeMounts": [{"name": "token", "mountPath": "/token"}]},
    )
    claims = json.loads(said)

    assert claims["aud"] == ["mesh"]
    assert claims["exp"] - claims["iat"] == 600
    assert claims["kubernetes.io"]["pod"]["name"] == "holder"
    assert claims["sub"] == f"system:serviceaccount:{bench.namespace}:default"


def test_the_default_token_opens_the_api(bench) -> None:
    said = bench.output(
        "caller",
        "python3 -c '\n"
        "import ssl, urllib.request\n"
        'd = "/var/run/secrets/kubernetes.io/serviceaccount/"\n'
        'r = urllib.request.Request("https://kubernetes.default.svc/version")\n'
        'r.add_header("Authorization", "Bearer " + open(d + "token").read())\n'
        'c = ssl.create_default_context(cafile=d + "ca.crt")\n'
        "print(urllib.request.urlopen(r, context=c, timeout=5).status, open(d + "
        '"namespace").read())\'',
    )

    assert said.split() == ["200", bench.namespace]


def test_privileges_are_what_the_security_context_says(bench) -> None:
    said = bench.output(
        "modest",
        "id -u; id -g; id -G; grep -E 'CapBnd|CapEff|NoNewPrivs' /proc/self/status;"
        " touch /here 2>&1; touch /proc/sys/kernel/hostname 2>&1; touch /scratch/x && echo ok",
        securityContext={"fsGroup": 4000},
        volumes=[{"name": "scratch", "emptyDir": {"medium": "Memory"}}],
        container={
            "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}],
            "securityContext": {
                "runAsUser": 2102,
                "runAsGroup": 2103,
                "readOnlyRootFilesystem": True,
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]},
            },
        },
    )
    lines = said.splitlines()

    assert lines[:3] == ["2102", "2103", "2103 4000"]
    assert "CapEff:\t0000000000000000" in lines
    assert "CapBnd:\t0000000000001000" in lines
    assert "NoNewPrivs:\t1" in lines
    assert "touch: cannot touch '/here': Read-only file system" in lines
    assert lines[-1] == "ok"


def test_a_container_sees_no_process_but_its_own(bench) -> None:
    said = bench.output("alone", "ls -d /proc/[0-9]* | wc -l; cat /proc/1/comm")

    assert said.split()[1] == "sh"
    assert int(said.split()[0]) < 6


def test_a_shared_pid_namespace_shows_the_other_container(bench) -> None:
    bench.pod(
        "together",
        "while :; do cat /proc/[0-9]*/comm; sleep 0.1; done",
        shareProcessNamespace=True,
    )
    bench.client.delete(Pod, "together", namespace=bench.namespace, grace_period=0)
    bench.pod(
        "both",
        "while :; do cat /proc/[0-9]*/comm 2>&1; sleep 0.1; done",
        shareProcessNamespace=True,
        initContainers=[
            {
                "name": "other",
                "image": "meshmark.dev/contract:1",
                "command": ["tail", "-f", "/dev/null"],
                "restartPolicy": "Always",
            }
        ],
    )

    assert "pause" in bench.says("both", "tail")


def test_a_missing_image_is_named(bench) -> None:
    bench.pod("lost", "true", container={"image": "nowhere.example/missing:1"})
    waiting = until(
        lambda: bench.state("lost").state.waiting,
        what="a reason",
        timeout_s=10,
        holds=lambda each: each is not None and "ImagePull" in (each.reason or ""),
    )
    events = bench.client.list(Event, namespace=bench.namespace)

    assert "nowhere.example/missing:1" in waiting.message
    named = [each for each in events if "nowhere.example/missing:1" in (each.message or "")]
    assert "Failed" in {each.reason for each in named}


def test_a_missing_secret_holds_the_pod_until_it_is_there(bench) -> None:
    bench.pod(
        "patient",
        "cat /keys/a; echo; sleep 1000",
        volumes=[{"name": "keys", "secret": {"secretName": "keys"}}],
        container={"volumeMounts": [{"name": "keys", "mountPath": "/keys"}]},
    )
    until(
        lambda: [each.reason for each in bench.client.list(Event, namespace=bench.namespace)],
        what="an event that says so",
        timeout_s=10,
        holds=lambda reasons: "FailedMount" in reasons,
    )
    bench.client.create(
        Secret.from_dict({"metadata": {"name": "keys"}, "stringData": {"a": "found"}}),
        namespace=bench.namespace,
    )

    bench.says("patient", "found")


def test_a_container_inherits_no_file_of_the_node(bench) -> None:
    said = bench.output("bare", "ls -l /proc/self/fd | grep -cE 'socket|pipe'")

    assert said.strip() == "2", "standard output and error"
