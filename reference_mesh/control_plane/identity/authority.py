"""
The issuer in force, and its replacement while the component runs.

The Secret and the trust bundle are watched through the API, not mounted: a kubelet refreshes
mounted Secrets about once a minute, and a rotation with short-lived issuers cannot wait for that.
Whatever arrives is validated as a pair; what cannot sign never replaces what can. One that may sign
only later is taken over when its time comes, though nothing in the cluster changes then.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from typing import TYPE_CHECKING, Any

from cryptography import x509

from reference_mesh.control_plane.identity import issuer as issuers
from reference_mesh.control_plane.kube.events import Event
from reference_mesh.control_plane.logfmt import Log
from reference_mesh.errors import InvalidInput
from reference_mesh.manifests import names

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["ISSUER", "Authority", "ObjectSink"]

ISSUER = "linkerd-identity-issuer"
"""Secret that holds the issuer's certificate and key."""

_BUNDLE = "ca-bundle.crt"

_log = Log("identity")

_LONGEST_PAUSE_S = 60.0
"""Between two looks at the clock: it may be set, and a machine that sleeps stops no wall clock."""


class ObjectSink:
    """The `data` of the one object that a reflector follows."""

    def __init__(self, changed: Callable[[dict[str, str] | None], None]) -> None:
        self._changed = changed

    def replace(self, objects: Sequence[dict[str, Any]]) -> None:
        """This is the object, or there is none."""
        self._changed((objects[0].get("data") or {}) if objects else None)

    def put(self, item: dict[str, Any]) -> None:
        """The object has changed."""
        self._changed(item.get("data") or {})

    def drop(self, item: dict[str, Any]) -> None:
        """The object is gone."""
        self._changed(None)


class Authority:
    """Holds the issuer in force and tells when there is one."""

    def __init__(
        self,
        record: Callable[[Event], None],
        *,
        namespace: str,
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(tz=dt.UTC),
    ) -> None:
        self._record = record
        self._namespace = namespace
        self._now = now
        self._secret: dict[str, str] | None = None
        self._bundle: dict[str, str] | None = None
        self._issuer: issuers.Issuer | None = None
        self._last: x509.Certificate | None = None
        self._starts: dt.datetime | None = None
        """When the issuer that lies there may sign, if that is all that is wrong with it."""
        self._trouble: str | None = None
        self._changed = asyncio.Event()

    def secret_changed(self, data: dict[str, str] | None) -> None:
        """Secret `linkerd-identity-issuer` holds this now; None when it is gone."""
        self._secret = data
        self._reconsider()

    def bundle_changed(self, data: dict[str, str] | None) -> None:
        """ConfigMap `linkerd-identity-trust-roots` holds this now; None when it is gone."""
        self._bundle = data
        self._reconsider()

    @property
    def usable(self) -> issuers.Issuer | None:
        """The issuer in force, unless its time is over."""
        issuer = self._issuer
        return issuer if issuer is not None and self._now() < issuer.not_after else None

    @property
    def ttl_s(self) -> float:
        """Seconds that the issuer in force is still valid; 0 without one."""
        issuer = self._issuer
        return max(0.0, (issuer.not_after - self._now()).total_seconds()) if issuer else 0.0

    async def wait_usable(self) -> issuers.Issuer:
        """The issuer in force, as soon as there is one."""
        while (issuer := self.usable) is None:
            await self._changed.wait()
        return issuer

    async def run(self) -> None:
        """Do what time brings (an issuer expires, another may sign from now on) until cancelled."""
        while True:
            changed, pause_s = self._changed, self.look_at_clock()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await changed.wait()

    def look_at_clock(self) -> float:
        """Do what is due now; returns the seconds until there is something to do again."""
        if self._starts is not None and self._now() >= self._starts:
            self._reconsider()
        issuer = self._issuer
        if issuer is not None and self._now() >= issuer.not_after:
            self._issuer = None
            self._refuse(
                "IssuerValidationFailed",
                f"Secret {self._namespace}/{ISSUER}",
                f"the issuer has expired at {issuer.not_after:%Y-%m-%dT%H:%M:%SZ}, and calls are "
                f"held; {issuers.REPLACE}",
            )
        due = [time for time in (self._starts, self._issuer and self._issuer.not_after) if time]
        waits_s = [(time - self._now()).total_seconds() for time in due]
        return min([_LONGEST_PAUSE_S, *(max(0.0, wait_s) for wait_s in waits_s)])

    def _reconsider(self) -> None:
        self._starts = None
        if self._secret is None or self._bundle is None:
            return
        try:
            roots = _roots(self._bundle)
            issuer = issuers.load(self._secret, roots, now=self._now())
        except issuers.NotYetValid as error:
            self._starts = error.not_before
            self._tell()
            self._refuse_secret("IssuerValidationFailed", error)
        except issuers.NotValid as error:
            self._refuse_secret("IssuerValidationFailed", error)
        except issuers.Unusable as error:
            self._refuse_secret("IssuerUpdateSkipped", error)
        except InvalidInput as error:
            place = f"ConfigMap {self._namespace}/{names.TRUST_ROOTS}, {_BUNDLE}"
            self._refuse("IssuerUpdateSkipped", place, str(error))
        else:
            self._adopt(issuer)

    def _adopt(self, issuer: issuers.Issuer) -> None:
        last, self._last = self._last, issuer.certificate
        self._issuer, self._trouble = issuer, None
        self._tell()
        if last == issuer.certificate:
            return
        until = f"{issuer.not_after:%Y-%m-%dT%H:%M:%SZ}"
        _log.info("issuer in force", serial=issuer.serial, valid_until=until)
        if last is not None:
            message = f"updated identity issuer; it is valid until {until}"
            self._record(Event(reason="IssuerUpdated", message=message))

    def _tell(self) -> None:
        """Wake whoever waits for an issuer, or for the time of one."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _refuse_secret(self, reason: str, error: issuers.Unusable) -> None:
        self._refuse(reason, f"Secret {self._namespace}/{ISSUER}, {error.field}", error.why)

    def _refuse(self, reason: str, place: str, why: str) -> None:
        message = f"{place}: {why}"
        if message == self._trouble:
            return
        self._trouble = message
        signing = self.usable is not None
        _log.error("issuer refused", reason=reason, place=place, error=why, signing=signing)
        self._record(Event(reason=reason, message=message, severity="Warning"))


def _roots(data: dict[str, str]) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(data.get(_BUNDLE, "").encode())
    except ValueError as error:
        raise InvalidInput(
            f"holds no PEM certificate; put the trust anchors back with {issuers.UPGRADE}"
        ) from error
