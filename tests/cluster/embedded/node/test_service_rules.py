"""From services and slices to rules."""

from __future__ import annotations

from harness.cluster.embedded.services import VirtualPort, ruleset, virtual_ports


def service(name: str, address: str, **port: object) -> dict[str, object]:
    return {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"clusterIP": address, "ports": [{"port": 80, "name": "http", **port}]},
    }


def slice_of(name: str, **conditions_by_address: dict[str, bool]) -> dict[str, object]:
    return {
        "metadata": {
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": name},
        },
        "ports": [{"name": "http", "port": 8080}, {"name": "other", "port": 9}],
        "endpoints": [
            {"addresses": [f"10.244.0.{last[1:]}"], "conditions": conditions}
            for last, conditions in conditions_by_address.items()
        ],
    }


READY = {"ready": True, "serving": True, "terminating": False}
LEAVING = {"ready": False, "serving": True, "terminating": True}
STARTING = {"ready": False, "serving": False, "terminating": False}


def test_a_port_goes_to_the_ready_endpoints_of_its_name() -> None:
    ports = virtual_ports(
        [service("web", "10.96.0.5")], [slice_of("web", _7=READY, _8=STARTING, _9=LEAVING)]
    )

    assert ports == [VirtualPort("10.96.0.5", "tcp", 80, (("10.244.0.7", 8080),))]


def test_those_that_leave_serve_while_nothing_else_does() -> None:
    ports = virtual_ports([service("web", "10.96.0.5")], [slice_of("web", _8=STARTING, _9=LEAVING)])

    assert ports[0].endpoints == (("10.244.0.9", 8080),)


def test_headless_services_have_no_rules() -> None:
    assert virtual_ports([service("web", "None")], [slice_of("web", _7=READY)]) == []


def test_the_table_replaces_itself_and_refuses_the_unserved() -> None:
    served = VirtualPort("10.96.0.5", "tcp", 80, (("10.244.0.7", 8080), ("10.244.0.8", 8080)))
    text = ruleset([served, VirtualPort("10.96.0.6", "udp", 53, ())])

    assert text.index("delete table") < text.index("map virtual-ports")
    assert "10.96.0.5 . tcp . 80 : goto port-0" in text
    assert "mod 2 map { 0 : 10.244.0.7 . 8080, 1 : 10.244.0.8 . 8080 }" in text
    assert "10.96.0.6" not in text
    assert "reject with tcp reset" in text
