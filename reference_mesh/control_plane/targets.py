"""What requests name: services, addresses, and the workload that asks."""

from __future__ import annotations

import ipaddress
import json
import re
from dataclasses import dataclass

from reference_mesh.errors import InvalidInput

__all__ = ["Caller", "ServiceTarget", "caller_of", "is_address", "service_target", "split_port"]

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_LONGEST = 4096
"""Characters of a path, workload or context token; real ones are under 300."""


@dataclass(frozen=True, slots=True)
class ServiceTarget:
    """A port of a service, or of one pod of it by its hostname."""

    namespace: str
    name: str
    port: int
    hostname: str | None = None


@dataclass(frozen=True, slots=True)
class Caller:
    """The workload that asks. Whatever is unknown is empty."""

    namespace: str = ""
    pod: str = ""
    node: str = ""


def split_port(authority: str, *, default: int = 80) -> tuple[str, int]:
    """
    Host and port of `host:port`, `host`, `[v6]:port`.

    Raises:
        InvalidInput: no host, or a port that is none.

    """
    if len(authority) > _LONGEST:
        raise InvalidInput(f"the name is over {_LONGEST} characters")
    host, colon, port = authority.rpartition(":")
    if not colon or port.endswith("]"):
        host, port = authority, str(default)
    host = host.removeprefix("[").removesuffix("]")
    if not host:
        raise InvalidInput(f"{authority!r} names no host")
    if not (port.isascii() and port.isdigit() and 0 < int(port[:6]) <= 65535):
        raise InvalidInput(f"{port!r} in {authority!r} is not a port")
    return host, int(port)


def is_address(host: str) -> bool:
    """Whether a host is an IP address rather than a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def service_target(authority: str, *, domain: str) -> ServiceTarget:
    """
    The service that `[hostname.]service.namespace.svc.<domain>[:port]` names.

    Raises:
        InvalidInput: the name is not of that form.

    """
    host, port = split_port(authority)
    suffix = f".svc.{domain}"
    labels = host.rstrip(".").removesuffix(suffix).split(".")
    named = host.rstrip(".").endswith(suffix) and all(_LABEL.fullmatch(label) for label in labels)
    if not named or len(labels) not in {2, 3}:
        raise InvalidInput(f"{host!r} is not of the form service.namespace.svc.{domain}")
    return ServiceTarget(labels[-1], labels[-2], port, labels[0] if len(labels) == 3 else None)


def caller_of(text: str) -> Caller:
    """
    The workload in a context token or workload string: JSON, `ns:<namespace>`, `<ns>:<pod>`.

    Raises:
        InvalidInput: JSON that is no object of texts.

    """
    if len(text) > _LONGEST:
        raise InvalidInput(f"the workload is over {_LONGEST} characters")
    if not text.startswith("{"):
        first, _, second = text.partition(":")
        return Caller(second) if first == "ns" else Caller(first, second)
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInput("the workload is not JSON") from error
    found = [document.get(key, "") for key in ("ns", "pod", "nodeName")]
    if not all(isinstance(value, str) for value in found):
        raise InvalidInput("the workload holds something that is not text")
    return Caller(*found)
