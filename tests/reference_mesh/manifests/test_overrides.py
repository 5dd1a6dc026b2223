from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_mesh.errors import InvalidInput, UsageError
from reference_mesh.manifests import documents, overrides
from reference_mesh.manifests.values import EnvVar, Values


def test_nothing_given_is_the_defaults() -> None:
    values, kept = overrides.combine()
    assert values == Values()
    assert kept == {}


def test_later_layer_wins_and_settings_win_over_all() -> None:
    values, kept = overrides.combine(
        {"proxy": {"logLevel": "info", "uid": 7}},
        {"proxy": {"logLevel": "debug"}},
        settings=["proxy.uid=9", "identity.issuer.issuanceLifetime=20s"],
    )
    assert (values.proxy.log_level, values.proxy.uid) == ("debug", 9)
    assert kept == {
        "identity": {"issuer": {"issuanceLifetime": "20s"}},
        "proxy": {"logLevel": "debug", "uid": 9},
    }


def test_lists_and_free_names_can_be_set() -> None:
    values, _ = overrides.combine(
        settings=[
            "proxy.additionalEnv[0].name=A",
            "proxy.additionalEnv[0].value=x=y,z",
            "podAnnotations.example\\.com/team=mesh",
            "policyController.probeNetworks=10.0.0.0/8,fd00::/8",
        ]
    )
    assert values.proxy.additional_env == (EnvVar(name="A", value="x=y,z"),)
    assert values.pod_annotations == {"example.com/team": "mesh"}
    assert values.policy_controller.probe_networks == ("10.0.0.0/8", "fd00::/8")


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("proxy.loglevel=debug", "did you mean proxy.logLevel"),
        ("identity.issuer.lifetime=1h", "identity.issuer.issuanceLifetime"),
        ("nothing=1", "unknown value `nothing`"),
        ("proxy", "expected key=value"),
        ("proxy.additionalEnv[3].name=A", "leaves a gap"),
    ],
)
def test_unknown_name_is_refused_with_what_resembles_it(setting: str, said: str) -> None:
    with pytest.raises(UsageError, match=said.replace(".", r"\.")):
        overrides.combine(settings=[setting])


@pytest.mark.parametrize(
    ("setting", "name"),
    [
        ("proxy.uid=root", "proxy.uid"),
        ("proxy.defaultInboundPolicy=open", "proxy.defaultInboundPolicy"),
        ("identity.issuer.issuanceLifetime=forever", "identity.issuer.issuanceLifetime"),
        ("proxy.ports.inbound=70000", "proxy.ports.inbound"),
        ("proxy=1", "proxy"),
    ],
)
def test_unusable_value_is_refused_by_name(setting: str, name: str) -> None:
    with pytest.raises(InvalidInput, match=f"`{name}`"):
        overrides.combine(settings=[setting])


@pytest.mark.parametrize("name", ["proxy.inboundConnectTimeout", "proxy.shutdownGracePeriod"])
def test_duration_for_a_proxy_is_in_one_unit(name: str) -> None:
    """A proxy that is told `1m30s` ends at once, ours and linkerd2-proxy."""
    with pytest.raises(InvalidInput, match=f"`{name}`: expected .* one unit, like 500ms, 90s or 2"):
        overrides.combine(settings=[f"{name}=1m30s"])
    assert overrides.combine(settings=[f"{name}=90s"])[1]


def test_lifetime_of_certificates_may_be_in_many_units() -> None:
    name = "identity.issuer.issuanceLifetime"
    assert overrides.combine(settings=[f"{name}=1h30m"])[0].identity.issuer.issuance_lifetime
    with pytest.raises(InvalidInput, match=f"`{name}`: expected a duration like 20s, 24h or 1h30m"):
        overrides.combine(settings=[f"{name}=90"])


@given(st.sampled_from([path for path in overrides.paths() if path.startswith("proxy.")]))
def test_every_name_is_known(path: str) -> None:
    try:
        overrides.combine(settings=[f"{path}="])
    except InvalidInput as error:
        assert f"`{path}`" in str(error)  # noqa: PT017 - a value may be refused, a name may not


def test_stored_overrides_give_the_same_values() -> None:
    values, kept = overrides.combine(settings=["proxy.uid=9", "proxy.nativeSidecar=false"])
    again, _ = overrides.combine(overrides.load(documents.dump(kept), "secret"))
    assert again == values
