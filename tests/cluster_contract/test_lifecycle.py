"""How pods begin, go on and end."""

from __future__ import annotations

import threading
import time

import httpx2
import pytest
from lightkube.resources.core_v1 import Event, Pod

from harness.waiting import until

pytestmark = pytest.mark.cluster

IMAGE = "meshmark.dev/contract:1"


def container(name: str, script: str, **more: object) -> dict[str, object]:
    return {"name": name, "image": IMAGE, "command": ["sh", "-c", script], **more}


def test_init_containers_run_in_order_and_sidecars_stay(bench) -> None:
    mounts = [{"name": "shared", "mountPath": "/shared"}]
    bench.pod(
        "ordered",
        "cat /shared/steps; sleep 1000",
        volumes=[{"name": "shared", "emptyDir": {}}],
        container={"volumeMounts": mounts},
        initContainers=[
            container("first", "echo first >> /shared/steps", volumeMounts=mounts),
            container(
                "side",
                "sleep 0.3; echo side >> /shared/steps; touch /tmp/up; sleep 1000",
                volumeMounts=mounts,
                restartPolicy="Always",
                startupProbe={"exec": {"command": ["test", "-e", "/tmp/up"]}},
            ),
            container("last", "echo last >> /shared/steps", volumeMounts=mounts),
        ],
    )
    bench.ready("ordered")

    assert bench.says("ordered", "last").split() == ["first", "side", "last"]
    assert bench.state("ordered", "side").state.running is not None
    assert bench.state("ordered", "first").state.terminated.reason == "Completed"


def test_a_failed_init_container_fails_a_pod_that_never_restarts(bench) -> None:
    bench.pod(
        "stuck", "echo never", restartPolicy="Never", initContainers=[container("bad", "exit 3")]
    )
    bench.phase("stuck", "Failed")

    assert bench.state("stuck", "bad").state.terminated.exitCode == 3
    assert bench.state("stuck").state.terminated is None


def test_a_crash_is_restarted_then_backed_off(bench) -> None:
    bench.pod("crashing", "echo run; exit 7")
    status = until(
        lambda: bench.state("crashing"),
        what="a back-off",
        timeout_s=60,
        holds=lambda each: (
            each.state.waiting is not None and each.state.waiting.reason == "CrashLoopBackOff"
        ),
    )

    assert status.restartCount >= 1
    assert status.lastState.terminated.exitCode == 7
    assert bench.log("crashing") == "run\n"


def test_a_command_that_does_not_exist_is_named(bench) -> None:
    bench.pod(
        "typo", "", restartPolicy="Never", container={"command": ["no-such-program"], "args": []}
    )
    bench.phase("typo", "Failed")
    ended = bench.state("typo").state.terminated

    assert ended.reason == "StartError"
    assert "no-such-program" in ended.message


def test_readiness_follows_its_probe(bench) -> None:
    bench.pod(
        "moody",
        "touch /tmp/well; sleep 1; rm /tmp/well; sleep 1; touch /tmp/well; sleep 1000",
        container={
            "readinessProbe": {
                "exec": {"command": ["test", "-e", "/tmp/well"]},
                "periodSeconds": 1,
                "failureThreshold": 1,
            }
        },
    )
    bench.ready("moody")
    until(lambda: not bench.state("moody").ready, what="not ready", timeout_s=10)
    bench.ready("moody")

    assert bench.state("moody").restartCount == 0


def test_liveness_restarts_what_hangs(bench) -> None:
    bench.pod(
        "hanging",
        "touch /tmp/well; sleep 1; rm /tmp/well; sleep 1000",
        container={
            "livenessProbe": {
                "exec": {"command": ["test", "-e", "/tmp/well"]},
                "periodSeconds": 1,
                "failureThreshold": 1,
            }
        },
    )
    until(lambda: bench.state("hanging").restartCount, what="a restart", timeout_s=15)
    reasons = {each.reason for each in bench.client.list(Event, namespace=bench.namespace)}

    assert {"Unhealthy", "Killing"} <= reasons


def test_the_end_is_announced_and_sidecars_go_last(bench) -> None:
    trap = "trap 'echo {0} > /dev/null; cat /proc/uptime > /shared/{0}; exit 0' TERM; "
    wait = "while :; do sleep 0.02; done"
    mounts = [{"name": "shared", "mountPath": "/shared"}]
    bench.pod(
        "watcher-of",
        trap.format("main") + wait,
        terminationGracePeriodSeconds=10,
        volumes=[{"name": "shared", "emptyDir": {}}],
        container={
            "volumeMounts": mounts,
            "lifecycle": {"preStop": {"exec": {"command": ["sh", "-c", "touch /shared/hook"]}}},
        },
        initContainers=[
            container(
                "side",
                "trap 'cat /shared/main; ls /shared; echo bye; sleep 0.5; exit 0' TERM; " + wait,
                volumeMounts=mounts,
                restartPolicy="Always",
            )
        ],
    )
    bench.ready("watcher-of")
    began_s = time.monotonic()
    bench.client.delete(Pod, "watcher-of", namespace=bench.namespace)
    said = bench.says("watcher-of", "bye", "side")
    until(lambda: bench.show("watcher-of") is None, what="the pod gone", timeout_s=10)

    assert "hook" in said
    assert "main" in said
    assert time.monotonic() - began_s < 8


def test_one_that_ignores_the_signal_is_killed_after_its_grace(bench) -> None:
    bench.pod("stubborn", "trap '' TERM; while :; do sleep 0.1; done")
    bench.ready("stubborn")
    began_s = time.monotonic()
    bench.client.delete(Pod, "stubborn", namespace=bench.namespace)
    until(lambda: bench.show("stubborn") is None, what="gone", timeout_s=10, interval_s=0.02)

    assert 0.8 < time.monotonic() - began_s < 10


def test_sidecars_end_with_a_pod_that_is_done(bench) -> None:
    bench.pod(
        "done",
        "echo finished",
        restartPolicy="Never",
        initContainers=[container("side", "sleep 1000", restartPolicy="Always")],
    )
    bench.phase("done", "Succeeded")

    assert bench.state("done", "side").state.terminated is not None


def test_following_a_log_ends_with_the_container(bench) -> None:
    bench.pod("talking", "for i in 1 2 3; do echo $i; sleep 1; done", restartPolicy="Never")
    bench.says("talking", "1")
    lines = list(bench.client.log("talking", namespace=bench.namespace, follow=True))

    assert "".join(lines).split() == ["1", "2", "3"]


def test_a_followed_log_has_what_is_said_while_a_pod_is_deleted(bench) -> None:
    """Also when the pod is gone before the log is read."""
    bench.pod("leaving", "trap 'echo last words; exit' TERM; echo up; while :; do sleep 0.1; done")
    bench.says("leaving", "up")
    with bench.cluster.following(bench.namespace, "leaving", "app") as log:
        bench.client.delete(Pod, "leaving", namespace=bench.namespace)
        until(lambda: bench.show("leaving") is None, what="pod leaving gone", timeout_s=30)
        assert list(log) == ["up", "last words"]


def test_following_can_be_ended_by_another_thread(bench) -> None:
    bench.pod("silent", "echo up; sleep 1000")
    bench.says("silent", "up")
    with bench.cluster.following(bench.namespace, "silent", "app") as log:
        ending = threading.Timer(0.2, log.end)
        ending.start()
        with pytest.raises(httpx2.HTTPError):
            list(log)
        ending.join()


def test_the_log_before_a_restart_is_kept(bench) -> None:
    bench.pod("reborn", "echo first; test -e /kept/been || { touch /kept/been; exit 7; }; sleep 99",
              volumes=[{"name": "kept", "emptyDir": {}}],
              container={"volumeMounts": [{"name": "kept", "mountPath": "/kept"}]})  # fmt: skip
    until(
        lambda: bench.state("reborn"),
        what="a restart",
        timeout_s=60,
        holds=lambda each: each.restartCount == 1 and each.state.running,
    )

    assert bench.cluster.logs(bench.namespace, "reborn", "app", previous=True) == "first\n"


def test_a_deadline_ends_the_pod(bench) -> None:
    bench.pod("slow", "sleep 1000", activeDeadlineSeconds=1, restartPolicy="Never")
    pod = bench.phase("slow", "Failed")

    assert pod.status.reason == "DeadlineExceeded"
    assert bench.state("slow").state.terminated is not None


def test_another_image_restarts_the_container(bench) -> None:
    bench.pod("changing", "echo up; sleep 1000")
    bench.ready("changing")
    image = {"spec": {"containers": [{"name": "app", "image": "nowhere.example/other:1"}]}}
    bench.client.patch(Pod, "changing", image, namespace=bench.namespace)
    until(
        lambda: bench.state("changing").state.waiting,
        what="the other image missing",
        timeout_s=10,
        holds=lambda waiting: waiting is not None and "ImagePull" in (waiting.reason or ""),
    )


def test_memory_beyond_the_limit_is_death(bench) -> None:
    bench.pod(
        "greedy",
        "python3 -c 'x = bytearray(200 << 20); print(len(x))'",
        restartPolicy="Never",
        container={"resources": {"limits": {"memory": "64Mi", "cpu": "1"}}},
    )
    bench.phase("greedy", "Failed")

    assert bench.state("greedy").state.terminated.reason == "OOMKilled"


def test_the_last_word_of_a_container_is_in_its_status(bench) -> None:
    bench.pod("tidy", "echo it was nice > /dev/termination-log; exit 1", restartPolicy="Never")
    bench.pod(
        "curt",
        "echo out of luck; exit 1",
        restartPolicy="Never",
        container={"terminationMessagePolicy": "FallbackToLogsOnError"},
    )
    for name, words in (("tidy", "it was nice\n"), ("curt", "out of luck\n")):
        bench.phase(name, "Failed")

        assert bench.state(name).state.terminated.message == words
