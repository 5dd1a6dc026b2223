"""What the node takes as an image."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from harness.cluster.embedded.api.node import Bind, Image
from harness.cluster.embedded.images import Images
from harness.cluster.embedded.status import BadRequest

if TYPE_CHECKING:
    from pathlib import Path


def image(folder: Path, user: int | None) -> Image:
    return Image(reference="it:1", binds=(Bind(source=str(folder), target="/it"),), user=user)


def test_a_folder_that_its_pods_cannot_read_is_named_with_the_way_to_open_it(
    tmp_path: Path,
) -> None:
    tmp_path.chmod(0o750)  # as with a umask of 027
    with pytest.raises(BadRequest, match=re.escape(f"chmod -R a+rX {tmp_path}")):
        Images().load([image(tmp_path, 2103)])


@pytest.mark.parametrize(("mode", "user"), [(0o755, 2103), (0o750, 0), (0o750, None)])
def test_a_folder_that_its_pods_can_read_is_taken(
    tmp_path: Path, mode: int, user: int | None
) -> None:
    tmp_path.chmod(mode)
    images = Images()
    images.load([image(tmp_path, user)])
    assert images.get("it:1")
