"""Durations, ports, names, logs and the admin port."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_mesh.control_plane import admin, durations, logfmt, ports, settings, targets, wire
from reference_mesh.errors import InvalidInput
from reference_mesh.manifests.values import Values

DOMAIN = "cluster.local"


@pytest.mark.parametrize(
    ("text", "expected_s"),
    [("24h0m0s", 86_400.0), ("20s", 20.0), ("300ms", 0.3), ("1m30s", 90.0), ("1.5h", 5400.0)],
)
def test_durations(text, expected_s):
    assert durations.seconds(text) == pytest.approx(expected_s)


@pytest.mark.parametrize("text", ["", "20", "s", "20x", "-5s", "5s ", "1h x"])
def test_what_is_no_duration(text):
    with pytest.raises(InvalidInput, match="not like 24h0m0s"):
        durations.seconds(text)


def test_ports():
    found = ports.parse("25, 587,8000-8010,")
    assert [p for p in (24, 25, 587, 7999, 8000, 8010, 8011) if p in found] == [25, 587, 8000, 8010]


@pytest.mark.parametrize("text", ["x", "0", "65536", "80-70", "1-", "-1", "99999999999", "8²"])
def test_what_are_no_ports(text):
    with pytest.raises(InvalidInput):
        ports.parse(text)


@given(st.text(max_size=40))
def test_any_list_of_ports_is_read_or_refused(text):
    with contextlib.suppress(InvalidInput):
        assert 0 not in ports.parse(text)


@pytest.mark.parametrize(
    ("authority", "expected"),
    [
        ("web.shop.svc.cluster.local:80", targets.ServiceTarget("shop", "web", 80)),
        ("web.shop.svc.cluster.local.:80", targets.ServiceTarget("shop", "web", 80)),
        ("web.shop.svc.cluster.local", targets.ServiceTarget("shop", "web", 80)),
        ("a-0.db.shop.svc.cluster.local:1", targets.ServiceTarget("shop", "db", 1, "a-0")),
    ],
)
def test_service_names(authority, expected):
    assert targets.service_target(authority, domain=DOMAIN) == expected


@pytest.mark.parametrize(
    "authority",
    [
        "web.shop:80",
        "web.shop.svc.other.domain:80",
        "a.b.c.d.svc.cluster.local:80",
        ".svc.cluster.local:80",
        "WEB.shop.svc.cluster.local:80",
        "web.shop.svc.cluster.local:0",
        "web.shop.svc.cluster.local:65536",
        "x" * 5000,
    ],
)
def test_what_are_no_service_names(authority):
    with pytest.raises(InvalidInput):
        targets.service_target(authority, domain=DOMAIN)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", targets.Caller()),
        ("ns:shop", targets.Caller("shop")),
        ("shop:web-1", targets.Caller("shop", "web-1")),
        ('{"ns":"shop","nodeName":"n","pod":"p"}\n', targets.Caller("shop", "p", "n")),
        ('{"ns":"shop"}', targets.Caller("shop")),
    ],
)
def test_callers(text, expected):
    assert targets.caller_of(text) == expected


@pytest.mark.parametrize("text", ["{", '{"ns":1}', "{" * 3000 + "}" * 3000, "a" * 5000])
def test_what_are_no_callers(text):
    with pytest.raises(InvalidInput):
        targets.caller_of(text)


@given(st.ip_addresses())
def test_addresses_survive_the_wire(ip):
    assert ipaddress.ip_address(wire.ip_text(wire.ip_address(str(ip)))) == ip


def test_loopback_is_in_host_order():
    assert wire.ip_address("127.0.0.1").ipv4 == 0x7F000001


def test_settings_of_an_installation(tmp_path):
    path = tmp_path / "values"
    path.write_text("identity: {issuer: {issuanceLifetime: 20s}}\nidentityTrustDomain: mesh.test\n")
    chosen = settings.load(path)
    assert (chosen.lifetime_s, chosen.clock_skew_s) == (20.0, 20.0)
    assert chosen.trust_domain == "mesh.test"
    assert 3306 in chosen.opaque_ports
    assert settings.from_values(Values()).trust_domain == "cluster.local"


@pytest.mark.parametrize(
    "text",
    ["proxy: 1", "a: [", "unknownValue: 1", "clusterNetworks: 10.0.0.300/8", "\x00"],
)
def test_settings_that_are_refused(tmp_path, text):
    path = tmp_path / "values"
    path.write_text(text)
    with pytest.raises(InvalidInput):
        settings.load(path)


def test_settings_that_are_not_there(tmp_path):
    with pytest.raises(InvalidInput, match="linkerd-config"):
        settings.load(tmp_path / "values")


def test_a_log_line_is_one_line(capsys):
    before = logging.getLogger().handlers[:]
    try:
        logfmt.configure("info")
        log = logfmt.Log("test")
        log.info("something happened", name="web", note='two\nlines and "quotes"', n=3)
        log.debug("not shown")
    finally:
        logging.getLogger().handlers[:] = before
    (line,) = capsys.readouterr().err.splitlines()
    assert 'level=info component=test msg="something happened" name=web' in line
    assert r'note="two\nlines and \"quotes\"" n=3' in line


def ask(text, *, ready=True):
    async def scenario():
        page = admin.Admin(ready=lambda: ready, metrics=lambda: "a 1\n")
        async with admin.serving(page, host="127.0.0.1", port=0) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(text)
            answer = await reader.read()
            writer.close()
            return answer.decode()

    return asyncio.run(scenario())


@pytest.mark.parametrize(
    ("path", "ready", "status"),
    [
        ("/live", False, "200 OK"),
        ("/ready", True, "200 OK"),
        ("/ready", False, "503 Service Unavailable"),
        ("/metrics?x=1", True, "200 OK"),
        ("/other", True, "404 Not Found"),
    ],
)
def test_admin_port(path, ready, status):
    answer = ask(f"GET {path} HTTP/1.1\r\nhost: a\r\n\r\n".encode(), ready=ready)
    assert answer.startswith(f"HTTP/1.1 {status}\r\n")


@pytest.mark.parametrize(
    "text", [b"\r\n\r\n", b"\xff\xfe /\r\n\r\n", b"GET /\r\n\r\n", b"a" * 9000]
)
def test_admin_port_closes_on_nonsense(text):
    assert ask(text) == ""
