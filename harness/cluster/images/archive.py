"""
From an `Image` to an archive of the format of `docker save`.

A program that is linked statically is alone in its image. One that is not gets a base with the C
library, and what names Debian packages gets a base of those.
"""

from __future__ import annotations

import errno
import hashlib
import json
import platform
import shutil
import struct
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.cluster.images import cache, debian, layers, wheels
from harness.cluster.model import Bind
from harness.errors import ClusterError, EnvironmentLacks

if TYPE_CHECKING:
    from harness.cluster.images.layers import Layer
    from harness.cluster.model import Image

__all__ = ["Archive", "archived"]

_LICENSE = Path(__file__).resolve().parents[3] / "LICENSE"
_LICENSE_TARGET = "/usr/share/doc/meshmark/LICENSE"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_C_LIBRARY = ("libc6", "libgcc-s1")
_EPOCH = "1970-01-01T00:00:00Z"

# Without it, glibc asks a name server for `localhost` and for what is in /etc/hosts.
_NSSWITCH = "passwd: files\ngroup: files\nhosts: files dns\n"


@dataclass(frozen=True, slots=True)
class Archive:
    """
    An image in a file.

    id: digest of its configuration, `sha256:…`, which engines call the image's id. The same
        content has the same id.
    """

    reference: str
    path: Path
    id: str

    @property
    def size_bytes(self) -> int:
        """Of the file; nothing in it is compressed."""
        return self.path.stat().st_size


def archived(image: Image) -> Archive:
    """
    The image as an archive in the user's cache, where it stays until the content is another.

    Raises:
        EnvironmentLacks: what its base is made with or of is missing, or the disk is full; says
            what to do.
        ClusterError: a file of the image does not exist, or cannot be read.

    """
    try:
        return _archived(image.portable or image)
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise EnvironmentLacks(
                f"the disk is full ({error.filename or cache.folder()}), with image "
                f"{image.reference} half made: make room and run this again"
            ) from error
        raise ClusterError(f"cannot make image {image.reference}: {error}") from error


def _archived(image: Image) -> Archive:
    with cache.scratch() as place:
        stack = _stack(image, place)
        config = _config(image, stack)
        digest = hashlib.sha256(config).hexdigest()
        path = cache.archive(image.reference, digest)
        if path.exists():
            path.touch()  # it is in use again
        else:
            whole = place / "archive.tar"
            _write(whole, image.reference, config, digest, stack)
            cache.give(whole)
            whole.replace(path)
    return Archive(image.reference, path, f"sha256:{digest}")


def _stack(image: Image, place: Path) -> list[Layer]:
    """The layers from the ground up; the last one, with the image's own files, is in `place`."""
    packages = sorted({*image.packages, *(_C_LIBRARY if _needs_libraries(image) else ())})
    own = place / "own"
    _copy(image, own)
    stack = []
    if packages:
        base = debian.base(packages)
        stack.append(_kept(base, f"Debian {debian.SUITE}: {', '.join(packages)}"))
        if image.wheels is not None:
            stack.append(_kept(wheels.installed(image.wheels, base), f"pip: {image.wheels.name}"))
            debian.compile_python(base, own, wheels.SITE)
    stack.append(layers.pack(own, place / "own.tar", f"meshmark: {image.reference}"))
    return stack


def _kept(root: Path, made_by: str) -> Layer:
    layer = layers.pack(root, root.with_suffix(".tar"), made_by)
    cache.give(layer.path)
    return layer


def _copy(image: Image, root: Path) -> None:
    """The image's own files as they will be seen, the licence, and how to look up names."""
    (root / "etc").mkdir(parents=True)
    (root / "etc/nsswitch.conf").write_text(_NSSWITCH)
    for bind in [*image.normalised(), Bind(_LICENSE, _LICENSE_TARGET)]:
        target = root / bind.target.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if bind.source.is_dir():
            shutil.copytree(bind.source, target, symlinks=True, dirs_exist_ok=True)
        else:
            shutil.copy(bind.source, target)


def _needs_libraries(image: Image) -> bool:
    return any(_has_interpreter(bind.source) for bind in image.normalised())


def _has_interpreter(path: Path) -> bool:
    """Whether a file is a program of the ELF format, 64 bits, that a dynamic linker must load."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(64)
        if len(head) < 64 or head[:5] != b"\x7fELF\x02":
            return False
        (table,) = struct.unpack_from("<Q", head, 32)
        size, count = struct.unpack_from("<HH", head, 54)
        file.seek(table)
        entries = file.read(size * count)
    return any(struct.unpack_from("<I", entries, size * n)[0] == 3 for n in range(count))


def _config(image: Image, stack: list[Layer]) -> bytes:
    name, _, version = image.reference.rpartition(":")
    env = [f"{key}={value}" for key, value in sorted((image.env or {}).items())]
    config: dict[str, Any] = {
        "Env": env if "PATH" in (image.env or {}) else [_PATH, *env],
        "Entrypoint": list(image.entrypoint),
        "Labels": {
            "org.opencontainers.image.licenses": "Apache-2.0",
            "org.opencontainers.image.title": name,
            "org.opencontainers.image.version": version,
        },
        "WorkingDir": "/",
    }
    if image.user is not None:
        config["User"] = str(image.user)
    document = {
        "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "created": _EPOCH,
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{each.digest}" for each in stack]},
        "history": [{"created": _EPOCH, "created_by": each.made_by} for each in stack],
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _write(target: Path, reference: str, config: bytes, digest: str, stack: list[Layer]) -> None:
    listed = {
        "Config": f"{digest}.json",
        "RepoTags": [reference],
        "Layers": [f"{layer.digest}.tar" for layer in stack],
    }
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as tar:
        for layer in stack:
            layers.add(tar, layer.path, f"{layer.digest}.tar")
        layers.add_bytes(tar, config, f"{digest}.json")
        layers.add_bytes(tar, json.dumps([listed]).encode(), "manifest.json")
