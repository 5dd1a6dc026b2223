"""
The volumes of a pod: directories of the node that its containers see.

Files that come from objects (config maps, secrets, tokens, the downward API) are written as the
kubelet writes them: a new hidden directory, then one rename of a link, so that a reader sees either
all of the old or all of the new. They are written again when an object changes, and a token well
before it ends.
"""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from harness.cluster.embedded import environment, syscalls
from harness.cluster.embedded.rootfs import STAGE
from harness.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from harness.cluster.embedded.environment import Sources
    from harness.cluster.embedded.store import Obj

__all__ = ["PodVolumes", "TokenIssuer"]

_DEFAULT_MODE = 0o644
_TOKEN_LIFE_S = 3607
"""What the API server asks for in its own default volume: an hour and a recognisable few s."""
_RENEWED_AT_RATIO = 0.8
"""Of a token's life, as the kubelet."""


class TokenIssuer(Protocol):
    """The part of the API server's tokens that volumes need."""

    def issue(
        self,
        namespace: str,
        account: str,
        *,
        audiences: Sequence[str] = (),
        expiry_s: int = 3600,
        pod: str = "",
    ) -> tuple[str, int]:
        """A token bound to a pod, and when it ends, in seconds since the epoch."""


@dataclass(slots=True)
class _Content:
    """Files of one volume, by relative path: bytes and mode."""

    files: dict[str, tuple[bytes, int]] = field(default_factory=dict)
    renew_at_s: float = float("inf")


class PodVolumes:
    """All volumes of one pod. `prepare` and `refresh` may be called again after an error."""

    def __init__(self, pod: Obj, sources: Sources, tokens: TokenIssuer) -> None:
        self._pod = pod
        self._sources = sources
        self._tokens = tokens
        self._folder = Path(STAGE, "pods", pod["metadata"]["uid"], "volumes")
        self._mounted: list[Path] = []
        self._shown: dict[str, dict[str, tuple[bytes, int]]] = {}
        self._kept_tokens: dict[str, tuple[bytes, float]] = {}
        self.renew_at_s = float("inf")
        """When `refresh` is due for the sake of a token, in seconds since the epoch."""

    def prepare(self) -> None:
        """
        Make every volume.

        Raises:
            ConfigMissing: an object that a volume needs is not there.
            ClusterError: a volume of a kind that this engine does not have.

        """
        for volume in self._volumes():
            folder = self._folder / volume["name"]
            folder.mkdir(mode=0o755, parents=True, exist_ok=True)
            if "emptyDir" in volume:
                self._empty(folder, volume["emptyDir"] or {})
        self.refresh(self._pod)

    def refresh(self, pod: Obj) -> None:
        """Write the files again of every volume whose content has changed."""
        self._pod = pod
        self.renew_at_s = float("inf")
        for volume in self._volumes():
            content = self._content(volume)
            if content is None:
                continue
            self.renew_at_s = min(self.renew_at_s, content.renew_at_s)
            if self._shown.get(volume["name"]) != content.files:
                _write(self._folder / volume["name"], content.files, self._group())
                self._shown[volume["name"]] = content.files

    def path(self, name: str) -> Path:
        """Where the volume of this name is."""
        for volume in self._volumes():
            if volume["name"] == name:
                host = volume.get("hostPath")
                return Path(host["path"]) if host else self._folder / name
        raise ClusterError(f'pod {self._pod["metadata"]["name"]}: no volume "{name}" to mount')

    def remove(self) -> None:
        """Give everything back."""
        for folder in self._mounted:
            syscalls.unmount(str(folder))
        shutil.rmtree(self._folder.parent, ignore_errors=True)

    def _volumes(self) -> list[Obj]:
        return self._pod["spec"].get("volumes") or []

    def _group(self) -> int | None:
        return (self._pod["spec"].get("securityContext") or {}).get("fsGroup")

    def _empty(self, folder: Path, options: Obj) -> None:
        limit = options.get("sizeLimit")
        if options.get("medium") == "Memory" and limit and folder not in self._mounted:
            size = int(environment.parse_quantity(limit))
            flags = syscalls.MS_NODEV | syscalls.MS_NOSUID
            syscalls.mount("tmpfs", str(folder), "tmpfs", flags, f"size={size}")
            self._mounted.append(folder)
        folder.chmod(0o777)
        group = self._group()
        if group is not None:
            os.chown(folder, -1, group)
            folder.chmod(0o2777)

    def _content(self, volume: Obj) -> _Content | None:
        for kind, source in volume.items():
            if kind == "configMap":
                return _Content(self._config_map(source, source.get("name", "")))
            if kind == "secret":
                return _Content(self._secret(source, source.get("secretName", "")))
            if kind == "downwardAPI":
                return _Content(self._downward(source, _mode(source)))
            if kind == "projected":
                return self._projected(volume["name"], source)
            if kind not in {"name", "emptyDir", "hostPath"}:
                raise ClusterError(
                    f'volume "{volume["name"]}": the embedded engine has no {kind} volumes; use '
                    f"emptyDir, configMap, secret, downwardAPI, projected or hostPath"
                )
        return None

    def _projected(self, name: str, projected: Obj) -> _Content:
        content = _Content()
        mode = _mode(projected)
        for number, each in enumerate(projected.get("sources") or ()):
            if "configMap" in each:
                source = each["configMap"]
                content.files |= self._config_map(source, source.get("name", ""), mode)
            elif "secret" in each:
                source = each["secret"]
                content.files |= self._secret(source, source.get("name", ""), mode)
            elif "downwardAPI" in each:
                content.files |= self._downward(each["downwardAPI"], mode)
            elif "serviceAccountToken" in each:
                source = each["serviceAccountToken"]
                token, renew_at_s = self._token(f"{name}/{number}", source)
                content.files[source["path"]] = (token, mode)
                content.renew_at_s = min(content.renew_at_s, renew_at_s)
            else:
                raise ClusterError(
                    f'volume "{name}": no projection of {", ".join(each)} in this engine'
                )
        return content

    def _config_map(
        self, source: Obj, name: str, mode: int | None = None
    ) -> dict[str, tuple[bytes, int]]:
        content = self._sources.config_map(name, optional=bool(source.get("optional")))
        return _chosen(content or {}, source, _mode(source) if mode is None else mode, name)

    def _secret(
        self, source: Obj, name: str, mode: int | None = None
    ) -> dict[str, tuple[bytes, int]]:
        content = self._sources.secret(name, optional=bool(source.get("optional")))
        return _chosen(content or {}, source, _mode(source) if mode is None else mode, name)

    def _downward(self, source: Obj, mode: int) -> dict[str, tuple[bytes, int]]:
        files = {}
        for item in source.get("items") or ():
            if "fieldRef" in item:
                text = environment.field(self._pod, {}, item["fieldRef"]["fieldPath"])
            else:
                text = environment.resource_field(self._pod, {}, item["resourceFieldRef"])
            files[item["path"]] = (text.encode(), item.get("mode", mode))
        return files

    def _token(self, key: str, source: Obj) -> tuple[bytes, float]:
        now_s = time.time()
        kept = self._kept_tokens.get(key)
        if kept is not None and now_s < kept[1]:
            return kept
        metadata = self._pod["metadata"]
        life_s = int(source.get("expirationSeconds") or _TOKEN_LIFE_S)
        audience = source.get("audience")
        token, ends_s = self._tokens.issue(
            metadata["namespace"],
            self._pod["spec"].get("serviceAccountName") or "default",
            audiences=[audience] if audience else (),
            expiry_s=life_s,
            pod=metadata["name"],
        )
        kept = (token.encode(), now_s + (ends_s - now_s) * _RENEWED_AT_RATIO)
        self._kept_tokens[key] = kept
        return kept


def _mode(source: Obj) -> int:
    mode = source.get("defaultMode")
    return _DEFAULT_MODE if mode is None else int(mode)


def _chosen(
    content: dict[str, bytes], source: Obj, mode: int, name: str
) -> dict[str, tuple[bytes, int]]:
    """The keys that `items` names under the paths that it gives, or all under their own names."""
    items = source.get("items")
    if not items:
        return {key: (value, mode) for key, value in content.items()}
    files = {}
    for item in items:
        if item["key"] in content:
            files[item["path"]] = (content[item["key"]], item.get("mode") or mode)
        elif not source.get("optional"):
            raise environment.ConfigMissing(f'"{name}" has no key "{item["key"]}"')
    return files


def _write(folder: Path, files: dict[str, tuple[bytes, int]], group: int | None) -> None:
    """Replace what `folder` shows by `files`, in one step for whoever reads it."""
    fresh = folder / f"..{time.time_ns()}"
    try:
        _fill(fresh, files, group)
    except BaseException:  # it is tried again, each time in another directory
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    link = folder / "..data"
    before = link.readlink() if link.is_symlink() else None
    _point(folder / "..data_new", fresh.name, link)
    wanted = {Path(path).parts[0] for path in files}
    for name in wanted:
        shown = folder / name
        if not shown.is_symlink():
            shown.symlink_to(f"..data/{name}")
    for stale in _shown(folder):
        if stale.name not in wanted:
            stale.unlink()
    if before is not None:
        shutil.rmtree(folder / before, ignore_errors=True)


def _fill(folder: Path, files: dict[str, tuple[bytes, int]], group: int | None) -> None:
    folder.mkdir(mode=0o755)
    for path, (content, mode) in files.items():
        target = folder / path
        if ".." in Path(path).parts or Path(path).is_absolute():
            raise ClusterError(f"a volume's file cannot be at {path!r}")
        target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        target.write_bytes(content)
        target.chmod(mode)
        if group is not None:
            os.chown(target, -1, group)
            target.chmod(mode | 0o040)


def _point(temporary: Path, to: str, link: Path) -> None:
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(to)
    temporary.rename(link)


def _shown(folder: Path) -> Iterator[Path]:
    return (each for each in list(folder.iterdir()) if not each.name.startswith(".."))
