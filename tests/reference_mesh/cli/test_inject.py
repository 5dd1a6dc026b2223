from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_mesh.cli.uninject import uninjected
from reference_mesh.control_plane.injector import inject
from reference_mesh.control_plane.injector.patch import apply
from reference_mesh.manifests.values import Proxy, ProxyInit, Values

if TYPE_CHECKING:
    from collections.abc import Callable

    from click.testing import Result

SEVERAL = """\
# a comment that stays
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}  # here too
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  template:
    spec:
      containers: [{name: app, image: x}]
---
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Pod, metadata: {name: host}, spec: {hostNetwork: true, containers: []}}
- {apiVersion: v1, kind: Service, metadata: {name: s}, spec: {}}
"""

keys = st.from_regex(r"[a-z]{1,5}(\.example\.com/[a-z]{1,5})?", fullmatch=True)
texts = st.dictionaries(keys, st.text("abc", min_size=1, max_size=3), min_size=1, max_size=3)
containers = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from(["app", "side", "job"])},
        optional={
            "ports": st.lists(
                st.builds(
                    lambda port: {"containerPort": port}, st.integers(min_value=1, max_value=65535)
                ),
                min_size=1,
                max_size=2,
            )
        },
    ),
    min_size=1,
    max_size=2,
)
pods = st.fixed_dictionaries(
    {
        "apiVersion": st.just("v1"),
        "kind": st.just("Pod"),
        "metadata": st.fixed_dictionaries(
            {"name": st.just("p")}, optional={"labels": texts, "annotations": texts}
        ),
        "spec": st.fixed_dictionaries(
            {"containers": containers},
            optional={
                "initContainers": containers,
                "volumes": st.just([{"name": "data", "emptyDir": {}}]),
            },
        ),
    }
)


@settings(deadline=None, max_examples=60)
@given(pod=pods, native=st.booleans(), iptables_mode=st.sampled_from(["nft", "legacy"]))
def test_taking_out_what_was_put_in_gives_the_pod_back(
    pod: dict[str, Any], native: bool, iptables_mode: str
) -> None:
    namespace = {"metadata": {"name": "n", "annotations": {"linkerd.io/inject": "enabled"}}}
    values = Values(
        proxy=Proxy(native_sidecar=native), proxy_init=ProxyInit(iptables_mode=iptables_mode)
    )
    done = inject(pod, namespace, values, trust_anchors_pem="PEM")
    assert uninjected(apply(pod, done.patch)) == pod


def test_workloads_are_annotated_and_the_rest_stays_as_it_is(
    refmesh: Callable[..., Result],
) -> None:
    result = refmesh("inject", "-", input=SEVERAL)
    assert result.exit_code == 0
    first, rest = result.stdout.split("---\n", 1)
    assert first == SEVERAL.split("---\n", 1)[0]
    deployment = next(iter(yaml.safe_load_all(rest)))
    template = deployment["spec"]["template"]
    assert template["metadata"]["annotations"] == {"linkerd.io/inject": "enabled"}
    assert result.stderr == (
        "\n"
        '‼ "hostNetwork: true" detected in pod/host\n'
        "\n"
        'configmap "settings" skipped\n'
        'deployment "web" injected\n'
        'pod "host" skipped\n'
        'service "s" skipped\n'
        "\n"
    )


def test_uninject_takes_the_annotation_back(refmesh: Callable[..., Result]) -> None:
    there = refmesh("inject", "-", "--skip-inbound-ports", "25", input=SEVERAL)
    back = refmesh("uninject", "-", input=there.stdout)
    assert list(yaml.safe_load_all(back.stdout)) == list(yaml.safe_load_all(SEVERAL))
    assert 'deployment "web" uninjected\n' in back.stderr
    assert 'configmap "settings" skipped\n' in back.stderr


def test_what_the_proxy_does_not_do_is_said(refmesh: Callable[..., Result]) -> None:
    gateway = '{annotations: {config.linkerd.io/enable-gateway: "true"}}'
    asked = SEVERAL.replace("  template:\n", f"  template:\n    metadata: {gateway}\n")
    result = refmesh("inject", "-", "--ingress", input=asked)
    told = [line for line in result.stderr.splitlines() if line.startswith("‼ deployment/web")]
    assert len(told) == 1
    assert "config.linkerd.io/enable-gateway: this mesh's proxy does not do that yet" in told[0]


def test_nothing_to_inject_is_said(refmesh: Callable[..., Result]) -> None:
    result = refmesh("inject", "-", input="kind: ConfigMap\nmetadata: {name: c}\n")
    assert "‼ no supported objects found\n" in result.stderr


def test_manual_injection_puts_the_sidecar_in(
    refmesh: Callable[..., Result], installed: Any
) -> None:
    del installed
    result = refmesh("inject", "--manual", "-", input=SEVERAL)
    assert result.exit_code == 0, result.stderr
    deployment = list(yaml.safe_load_all(result.stdout))[1]
    spec = deployment["spec"]["template"]["spec"]
    assert [c["name"] for c in spec["initContainers"]] == ["linkerd-init", "linkerd-proxy"]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert labels["linkerd.io/proxy-deployment"] == "web"
    again = refmesh("inject", "--manual", "-", input=result.stdout)
    assert "‼ known sidecar detected in deployment/web\n" in again.stderr


def test_folders_are_read_in_order(refmesh: Callable[..., Result], tmp_path: Any) -> None:
    for name in ("b.yaml", "a.yml", "skip.txt"):
        (tmp_path / name).write_text(f"kind: ConfigMap\nmetadata: {{name: {name[0]}}}\n")
    result = refmesh("inject", str(tmp_path))
    assert [item["metadata"]["name"] for item in yaml.safe_load_all(result.stdout)] == ["a", "b"]


def test_bad_input_names_file_and_line(refmesh: Callable[..., Result], tmp_path: Any) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("a: 1\nb: [\n")
    for arguments, code, said in (
        ([str(bad)], 1, f"{bad}, line 3: not YAML"),
        ([str(tmp_path / "gone")], 64, "no such file or folder"),
        (["https://example.com/x.yaml"], 64, "addresses are not read"),
        (["-", "--skip-inbound-ports", "http"], 1, "config.linkerd.io/skip-inbound-ports"),
    ):
        result = refmesh("inject", *arguments, input="kind: Pod\n")
        assert result.exit_code == code
        assert result.stdout == ""
        assert said in result.stderr


def test_standard_input_that_is_no_text_is_refused(refmesh: Callable[..., Result]) -> None:
    result = refmesh("inject", "-", input=b"kind: Pod\xff\n")
    assert result.exit_code == 1
    assert "standard input: cannot be read as text" in result.stderr
