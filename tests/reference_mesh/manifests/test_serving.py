from __future__ import annotations

import datetime as dt

from reference_mesh.manifests import acceptance, serving
from reference_mesh.manifests.serving import Serving

HOSTS = ["hook.linkerd.svc"]
NOW = dt.datetime.now(dt.UTC)
DAY = dt.timedelta(days=1)


def trusts(one: Serving, *others: Serving) -> bool:
    """Whether the bundle of one lets each of these be called."""
    anchors = acceptance.read_bundle(one.trusted_pem, "bundle")
    leaves = [acceptance.read_bundle(o.pair.certificate_pem, "leaf")[0] for o in (one, *others)]
    return all(acceptance.chains_to(leaf, [], anchors) for leaf in leaves)


def test_good_certificate_is_kept() -> None:
    kept = serving.made(HOSTS, now=NOW - 300 * DAY)
    assert serving.renewed_in_time(kept, HOSTS, now=NOW) == kept


def test_renewed_one_is_trusted_beside_the_old_one() -> None:
    old = serving.made(HOSTS, now=NOW - 306 * DAY)
    new = serving.renewed_in_time(old, HOSTS, now=NOW)
    assert new.pair != old.pair
    assert trusts(new, old)
    assert serving.renewed_in_time(new, HOSTS, now=NOW + DAY) == new


def test_bundle_forgets_what_is_over() -> None:
    old = serving.made(HOSTS, now=NOW - 306 * DAY)
    new = serving.renewed_in_time(old, HOSTS, now=NOW)
    later = serving.renewed_in_time(new, HOSTS, now=NOW + 60 * DAY)
    assert later.pair == new.pair
    assert trusts(later)
    assert not trusts(later, old)


def test_certificate_for_another_host_is_replaced() -> None:
    kept = serving.made(["other.linkerd.svc"])
    assert serving.renewed_in_time(kept, HOSTS).pair != kept.pair


def test_damaged_bundle_is_made_anew() -> None:
    kept = serving.made(HOSTS)
    assert serving.renewed_in_time(Serving(kept.pair, "garbage"), HOSTS) == kept
