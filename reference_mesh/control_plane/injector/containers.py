"""The containers and volumes that make a pod meshed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reference_mesh.control_plane.injector import environment
from reference_mesh.manifests import names

if TYPE_CHECKING:
    from reference_mesh.control_plane.injector.environment import Addresses, TrustAnchors
    from reference_mesh.manifests.values import Image, Resources, Values

__all__ = ["VOLUMES", "Sidecar", "requests_and_limits", "sidecar"]

_END_ENTITY = "linkerd-identity-end-entity"
_LOCK = "linkerd-proxy-init-xtables-lock"
_TOKEN = "linkerd-identity-token"  # noqa: S105 - name of a volume and of a file

VOLUMES = frozenset({_END_ENTITY, _LOCK, _TOKEN})
"""Names of all volumes that a pod may get."""


@dataclass(frozen=True, slots=True)
class Sidecar:
    """What a pod gets. A native sidecar goes among the init containers, after `init`."""

    init: dict[str, Any]
    proxy: dict[str, Any]
    volumes: tuple[dict[str, Any], ...]
    native: bool


def sidecar(
    values: Values,
    *,
    control_plane_ns: str,
    addresses: Addresses,
    anchors: TrustAnchors,
    inbound_ports: str = "",
) -> Sidecar:
    """Containers and volumes for a pod with these values."""
    env = environment.variables(
        values,
        control_plane_ns=control_plane_ns,
        addresses=addresses,
        anchors=anchors,
        inbound_ports=inbound_ports,
    )
    return Sidecar(
        init=_init(values),
        proxy=_proxy(values, env),
        volumes=_volumes(values),
        native=values.proxy.native_sidecar,
    )


def requests_and_limits(resources: Resources) -> dict[str, dict[str, str]]:
    """`resources` of a container; empty when nothing is asked for."""
    amounts = {
        "cpu": resources.cpu,
        "memory": resources.memory,
        "ephemeral-storage": resources.ephemeral_storage,
    }
    both = {
        "requests": {name: amount.request for name, amount in amounts.items() if amount.request},
        "limits": {name: amount.limit for name, amount in amounts.items() if amount.limit},
    }
    return {kind: chosen for kind, chosen in both.items() if chosen}


def _proxy(values: Values, env: list[dict[str, Any]]) -> dict[str, Any]:
    proxy = values.proxy
    container: dict[str, Any] = {
        "name": names.PROXY_CONTAINER,
        "image": _reference(proxy.image),
        "imagePullPolicy": proxy.image.pull_policy or values.image_pull_policy,
        "env": env,
        "ports": [
            {"name": "linkerd-proxy", "containerPort": proxy.ports.inbound},
            {"name": names.ADMIN_PORT_NAME, "containerPort": proxy.ports.admin},
        ],
        "livenessProbe": _probe("/live", proxy.ports.admin, initialDelaySeconds=10),
        "readinessProbe": _probe("/ready", proxy.ports.admin, periodSeconds=2),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "runAsUser": proxy.uid,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": _mounts(values),
    }
    if proxy.gid >= 0:
        container["securityContext"]["runAsGroup"] = proxy.gid
    resources = requests_and_limits(proxy.resources)
    if resources:
        container["resources"] = resources
    if proxy.wait_before_exit_seconds:
        # Not the command of that name: there is nothing but the proxy in its image.
        wait = {"seconds": proxy.wait_before_exit_seconds}
        container["lifecycle"] = {"preStop": {"sleep": wait}}
    if proxy.native_sidecar:
        container["restartPolicy"] = "Always"
        container["startupProbe"] = _probe(
            "/ready", proxy.ports.admin, periodSeconds=1, failureThreshold=120
        )
    return container


def _init(values: Values) -> dict[str, Any]:
    proxy, init = values.proxy, values.proxy_init
    own_ports = f"{proxy.ports.control},{proxy.ports.admin}"
    firewall = "iptables-nft" if init.iptables_mode == "nft" else "iptables-legacy"
    args = [
        f"--ipv6={'false' if values.disable_ipv6 else 'true'}",
        "--firewall-bin-path",
        firewall,
        "--firewall-save-bin-path",
        f"{firewall}-save",
        "--incoming-proxy-port",
        str(proxy.ports.inbound),
        "--outgoing-proxy-port",
        str(proxy.ports.outbound),
        "--proxy-uid",
        str(proxy.uid),
    ]
    if proxy.gid >= 0:
        args += ["--proxy-gid", str(proxy.gid)]
    ignored = ",".join(part for part in (own_ports, init.ignore_inbound_ports) if part)
    args += ["--inbound-ports-to-ignore", ignored]
    if init.ignore_outbound_ports:
        args += ["--outbound-ports-to-ignore", init.ignore_outbound_ports]
    if init.skip_subnets:
        args += ["--subnets-to-ignore", init.skip_subnets]
    privileged = init.close_wait_timeout_secs > 0
    if privileged:
        args += ["--timeout-close-wait-secs", str(init.close_wait_timeout_secs)]
    container: dict[str, Any] = {
        "name": names.INIT_CONTAINER,
        "image": _reference(init.image),
        "imagePullPolicy": init.image.pull_policy
        or proxy.image.pull_policy
        or values.image_pull_policy,
        "args": args,
        "securityContext": _init_security(values, privileged=privileged),
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    if init.iptables_mode == "legacy":
        container["volumeMounts"] = [{"name": _LOCK, "mountPath": "/run"}]
    return container


def _init_security(values: Values, *, privileged: bool) -> dict[str, Any]:
    """
    Setting a kernel parameter needs root and a writable /proc; rules need two capabilities.

    Those are root's alone: a program that another user executes loses what its container was given,
    unless the file itself carries it, which not every image format keeps.
    """
    user = 0 if privileged else values.proxy_init.run_as_user
    return {
        "allowPrivilegeEscalation": privileged,
        "capabilities": {"add": ["NET_ADMIN", "NET_RAW"], "drop": ["ALL"]},
        "privileged": privileged,
        "readOnlyRootFilesystem": True,
        "runAsGroup": user,
        "runAsNonRoot": user != 0,
        "runAsUser": user,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def _volumes(values: Values) -> tuple[dict[str, Any], ...]:
    volumes: list[dict[str, Any]] = [{"name": _END_ENTITY, "emptyDir": {"medium": "Memory"}}]
    if values.proxy_init.iptables_mode == "legacy":
        # Where iptables-legacy keeps its lock file; the image's own file system is read only.
        volumes.append({"name": _LOCK, "emptyDir": {}})
    if not values.identity.service_account_token_projection:
        return tuple(volumes)
    token = {
        "audience": names.IDENTITY_AUDIENCE,
        "expirationSeconds": 86400,
        "path": _TOKEN,
    }
    projected = {"sources": [{"serviceAccountToken": token}]}
    return (*volumes, {"name": _TOKEN, "projected": projected})


def _mounts(values: Values) -> list[dict[str, Any]]:
    mounts = [{"name": _END_ENTITY, "mountPath": environment.END_ENTITY_DIR}]
    if values.identity.service_account_token_projection:
        mounts.append({"name": _TOKEN, "mountPath": environment.TOKEN_DIR})
    return mounts


def _probe(path: str, port: int, **timing: int) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": port}, **timing}


def _reference(image: Image) -> str:
    return f"{image.name}:{image.version}"
