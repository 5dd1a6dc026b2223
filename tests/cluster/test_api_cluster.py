"""A cluster by its kubeconfig: one client for everybody, and an end to it."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from lightkube.resources.core_v1 import Namespace

from harness.cluster.api_cluster import ApiCluster
from harness.cluster.external import external
from harness.cluster.kubeconfig import kubeconfig
from harness.cluster.model import Image

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def cluster(tmp_path: Path) -> ApiCluster:
    path = tmp_path / "kubeconfig"
    path.write_text(kubeconfig("one", "http://127.0.0.1:1", "", "token"))
    return ApiCluster("one", path)


def test_all_threads_share_one_client(cluster: ApiCluster) -> None:
    with contextlib.closing(cluster), ThreadPoolExecutor(4) as pool:
        clients = set(pool.map(lambda _: cluster.client(), range(16)))
    assert len(clients) == 1


def test_a_closed_cluster_has_closed_its_client(cluster: ApiCluster) -> None:
    client = cluster.client()
    cluster.close()
    cluster.close()
    with pytest.raises(RuntimeError, match="closed"):
        client.get(Namespace, "default")


def test_a_closed_cluster_can_be_asked_again(cluster: ApiCluster) -> None:
    first = cluster.client()
    cluster.close()
    assert cluster.client() is not first
    cluster.close()


def test_a_cluster_made_elsewhere_is_trusted_to_pull_by_name(cluster: ApiCluster) -> None:
    cluster.load_images([Image(reference="test.dev/p:1", binds=[], entrypoint=["/p"])])


def test_its_kubeconfig_is_found_from_any_folder(
    cluster: ApiCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(cluster.kubeconfig.parent)
    monkeypatch.setenv("KUBECONFIG", "kubeconfig")
    with contextlib.closing(external("one")) as foreign:
        monkeypatch.chdir("/")
        assert str(foreign.client()._client._client.base_url) == "http://127.0.0.1:1"
        assert foreign.context == "one"
