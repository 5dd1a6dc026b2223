"""
Probes: one attempt of each kind, and the loop that repeats them.

Attempts start in the node's network, as the kubelet's do, so a mesh sees them as it would in
Kubernetes. Until a first success they repeat ten times a second, which is what makes a pod ready
when it is and not when the next period comes round; then the specified period rules.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING, Protocol

import httptools

from harness.cluster.embedded.environment import ConfigMissing
from harness.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from harness.cluster.embedded.store import Obj

__all__ = ["ExecInContainer", "ProbeFailed", "check_handler", "port_number", "watch"]

_FIRST_INTERVAL_S = 0.1
_MAX_ANSWER_BYTES = 10 << 10
"""Of a probe's answer; the kubelet's bound too. The rest is not read."""


class ProbeFailed(ClusterError):
    """One attempt did not succeed; the text says what was seen, in the kubelet's words."""


class ExecInContainer(Protocol):
    """Runs a command in the container."""

    async def __call__(self, command: Sequence[str]) -> tuple[int, str]:
        """Exit code and output."""


async def check_handler(
    handler: Obj, container: Obj, address: str, run: ExecInContainer, timeout_s: float
) -> None:
    """
    Attempt one probe, or one lifecycle handler of the same form.

    Raises:
        ProbeFailed: it did not succeed within `timeout_s`.

    """
    try:
        async with asyncio.timeout(timeout_s):
            await _attempt(handler, container, address, run)
    except TimeoutError:
        raise ProbeFailed(f"not answered within {timeout_s:g} s") from None
    except ClusterError:
        raise
    except Exception as error:
        # Whatever is wrong with it (a port of 70000, a host that is none): what cannot be
        # attempted has failed, and is told. Else nothing would probe the container any more.
        raise ProbeFailed(f"{type(error).__name__}: {error}") from error


def port_number(port: object, container: Obj) -> int:
    """A port given as a number or by the name of one of the container's ports."""
    if isinstance(port, int) or (isinstance(port, str) and port.isdigit()):
        return int(port)
    for each in container.get("ports") or ():
        if each.get("name") == port:
            return int(each["containerPort"])
    raise ConfigMissing(f'container "{container["name"]}": no port named {port!r}')


async def watch(
    probe: Obj,
    attempt: Callable[[], Awaitable[None]],
    tell: Callable[[bool, str], None],
    *,
    once: bool = False,
) -> None:
    """
    Repeat `attempt` for ever and tell each verdict that the thresholds allow.

    tell: called with True after `successThreshold` successes in a row, with False and the last
        failure after `failureThreshold` failures in a row, and again for each further one.
    once: end with the first success; failures count from the specified period on, since the fast
        attempts before are this engine's and must not use the threshold up.
    """
    period_s = float(probe.get("periodSeconds") or 10)
    needed = int(probe.get("successThreshold") or 1)
    allowed = int(probe.get("failureThreshold") or 3)
    loop = asyncio.get_running_loop()
    await asyncio.sleep(float(probe.get("initialDelaySeconds") or 0))
    counted_at_s = loop.time()
    succeeded = failed = 0
    told = False
    while True:
        try:
            await attempt()
        except ClusterError as error:
            succeeded = 0
            # Fast attempts before the first success count as one per period.
            if told or loop.time() >= counted_at_s:
                failed += 1
                counted_at_s += period_s
                if failed >= allowed:
                    tell(False, str(error))
        else:
            failed = 0
            succeeded += 1
            if succeeded >= needed:
                told = True
                tell(True, "")
                if once:
                    return
        await asyncio.sleep(period_s if told else _FIRST_INTERVAL_S)


async def _attempt(handler: Obj, container: Obj, address: str, run: ExecInContainer) -> None:
    if "exec" in handler:
        code, output = await run(handler["exec"].get("command") or [])
        if code:
            raise ProbeFailed(f"command failed with exit code {code}: {output.strip()}")
    elif "httpGet" in handler:
        await _get(handler["httpGet"], container, address)
    elif "tcpSocket" in handler:
        await _connect(handler["tcpSocket"], container, address)
    else:
        kinds = ", ".join(sorted(key for key in handler if not key.endswith("Seconds")))
        raise ProbeFailed(
            f"the embedded engine has no {kinds} probes: use exec, httpGet or tcpSocket"
        )


async def _get(action: Obj, container: Obj, address: str) -> None:
    host = action.get("host") or address
    port = port_number(action["port"], container)
    context = None
    if action.get("scheme") == "HTTPS":
        # As the kubelet: a probe asks whether it answers, not who it is. So no roots are loaded,
        # which takes longer than everything else here.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    headers = {"host": f"{host}:{port}", "user-agent": "kube-probe/1.34", "accept": "*/*"}
    for header in action.get("httpHeaders") or ():
        headers[header["name"].lower()] = header["value"]
    head = f"GET {action.get('path') or '/'} HTTP/1.1\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    reader, writer = await asyncio.open_connection(host, port, ssl=context)
    try:
        writer.write(head.encode() + b"connection: close\r\n\r\n")
        await writer.drain()
        status = await _status(reader)
    finally:
        writer.close()
        with contextlib.suppress(OSError, ssl.SSLError):
            await writer.wait_closed()
    if not 200 <= status < 400:
        raise ProbeFailed(f"HTTP probe failed with statuscode: {status}")


async def _status(reader: asyncio.StreamReader) -> int:
    """Status of the answer, as soon as its head is complete."""
    head = _Head()
    parser = httptools.HttpResponseParser(head)
    taken = 0
    while not head.complete and taken < _MAX_ANSWER_BYTES:
        chunk = await reader.read(4096)
        if not chunk:
            raise ProbeFailed("the connection was closed before an answer")
        taken += len(chunk)
        try:
            parser.feed_data(chunk)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not head.complete:
                raise ProbeFailed(f"malformed HTTP answer: {error}") from error
    return int(parser.get_status_code())


class _Head:
    complete = False

    def on_headers_complete(self) -> None:
        self.complete = True


async def _connect(action: Obj, container: Obj, address: str) -> None:
    port = port_number(action["port"], container)
    _, writer = await asyncio.open_connection(action.get("host") or address, port)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
