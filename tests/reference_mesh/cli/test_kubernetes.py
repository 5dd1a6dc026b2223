"""Clusters that cannot be asked: the message, and no traceback."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from click.testing import Result


@pytest.mark.parametrize(
    ("version", "said"),
    [("v1", "client.authentication.k8s.io/v1"), ("v1beta1", "Exec false returned 1")],
)
def test_a_plugin_that_gives_no_token_is_told(
    refmesh: Callable[..., Result], tmp_path: Path, version: str, said: str
) -> None:
    user = {"exec": {"apiVersion": f"client.authentication.k8s.io/{version}", "command": "false"}}
    path = tmp_path / "kubeconfig"
    path.write_text(
        yaml.safe_dump(
            {
                "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
                "contexts": [{"name": "far", "context": {"cluster": "c", "user": "u"}}],
                "current-context": "far",
                "users": [{"name": "u", "user": user}],
            }
        )
    )
    result = refmesh("upgrade", "--kubeconfig", str(path))
    assert result.exit_code not in {0, 64}
    assert "no credentials for http://127.0.0.1:1" in result.stderr
    assert said in result.stderr
    assert "mend the `exec` of the kubeconfig's user" in result.stderr
