"""The name server's answers."""

from __future__ import annotations

import pytest
from dnslib import QTYPE, RCODE, DNSError, DNSRecord

from harness.cluster.embedded.dns import Names, answer
from harness.cluster.embedded.store import Store

ZONE = "svc.cluster.local"


@pytest.fixture
def names() -> Names:
    store = Store()
    store.create(("", "namespaces"), {"metadata": {"name": "shop"}})
    for name, address in (("web", "10.96.0.5"), ("each", "None")):
        store.create(
            ("", "services"),
            {
                "metadata": {"name": name, "namespace": "shop"},
                "spec": {"clusterIP": address, "ports": [{"name": "http", "port": 80}]},
            },
        )
    store.create(
        ("discovery.k8s.io", "endpointslices"),
        {
            "metadata": {
                "name": "each-1",
                "namespace": "shop",
                "labels": {"kubernetes.io/service-name": "each"},
            },
            "addressType": "IPv4",
            "ports": [{"name": "http", "protocol": "TCP", "port": 8080}],
            "endpoints": [
                {"addresses": ["10.244.0.7"], "conditions": {"ready": True}, "hostname": "zero"},
                {"addresses": ["10.244.0.8"], "conditions": {"ready": True}},
                {"addresses": ["10.244.0.9"], "conditions": {"ready": False}},
            ],
        },
    )
    return Names(store)


def ask(names: Names, name: str, kind: str = "A", limit: int | None = None) -> DNSRecord:
    return DNSRecord.parse(answer(names, DNSRecord.question(name, kind).pack(), limit=limit))


def found(reply: DNSRecord) -> list[str]:
    return sorted(str(each.rdata) for each in reply.rr)


def test_a_service_has_its_address(names: Names) -> None:
    assert found(ask(names, f"web.shop.{ZONE}.")) == ["10.96.0.5"]


def test_case_does_not_matter_and_is_kept(names: Names) -> None:
    reply = ask(names, f"Web.SHOP.{ZONE}.")

    assert found(reply) == ["10.96.0.5"]
    assert str(reply.rr[0].rname).startswith("Web.SHOP")


def test_a_headless_service_has_those_that_are_ready(names: Names) -> None:
    assert found(ask(names, f"each.shop.{ZONE}.")) == ["10.244.0.7", "10.244.0.8"]


def test_endpoints_have_names_of_their_own(names: Names) -> None:
    assert found(ask(names, f"zero.each.shop.{ZONE}.")) == ["10.244.0.7"]
    assert found(ask(names, f"10-244-0-8.each.shop.{ZONE}.")) == ["10.244.0.8"]


def test_ports_are_found_by_name(names: Names) -> None:
    reply = ask(names, f"_http._tcp.each.shop.{ZONE}.", "SRV")

    assert found(reply) == [
        f"0 100 8080 10-244-0-8.each.shop.{ZONE}.",
        f"0 100 8080 zero.each.shop.{ZONE}.",
    ]
    assert sorted(str(each.rdata) for each in reply.ar) == ["10.244.0.7", "10.244.0.8"]


@pytest.mark.parametrize(
    "name",
    [
        f"missing.shop.{ZONE}.",
        f"web.nowhere.{ZONE}.",
        f"_grpc._tcp.web.shop.{ZONE}.",
        "example.com.",
        f"web.shop.{ZONE}.shop.{ZONE}.",
    ],
)
def test_what_is_not_there_does_not_exist(names: Names, name: str) -> None:
    reply = ask(names, name)

    assert reply.header.rcode == RCODE.NXDOMAIN
    assert reply.auth[0].rtype == QTYPE.SOA


def test_a_name_without_such_a_record_exists(names: Names) -> None:
    reply = ask(names, f"web.shop.{ZONE}.", "AAAA")

    assert reply.header.rcode == RCODE.NOERROR
    assert reply.rr == []


def test_addresses_have_names(names: Names) -> None:
    assert found(ask(names, "5.0.96.10.in-addr.arpa.", "PTR")) == [f"web.shop.{ZONE}."]


def test_a_long_answer_is_truncated_for_udp(names: Names) -> None:
    reply = ask(names, f"each.shop.{ZONE}.", limit=40)

    assert reply.header.tc == 1
    assert reply.rr == []


def test_answers_are_not_answered(names: Names) -> None:
    question = DNSRecord.question(f"web.shop.{ZONE}.", "A")

    with pytest.raises(DNSError, match="not a question"):
        answer(names, question.reply().pack(), limit=None)
