"""The schema files: what is made from them is current, and the wire is the real API's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

from reference_mesh.proto import generate

CRATES = sorted(Path.home().glob(".cargo/registry/src/*/linkerd2-proxy-api-0.20.*/proto"))


def test_generated_modules_are_current():
    made = generate.generate()
    kept = {path.name: path.read_text() for path in generate.GENERATED.glob("*.py*")}
    assert kept.keys() == made.keys()
    stale = [name for name, text in made.items() if kept[name] != text]
    assert stale == [], "run `python -m reference_mesh.proto`"


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """Every field of the real API: (message, number) to what it is; None without the crate."""
    if not CRATES:
        return None
    folder = tmp_path_factory.mktemp("crate")
    for source in CRATES[-1].glob("*.proto"):
        text = source.read_text().replace("protobuf/timestamp/timestamp", "protobuf/timestamp")
        Path(folder, source.name).write_text(text)
    return described(folder, "")


def described(folder, prefix):
    from grpc_tools import protoc

    well_known = Path(protoc.__file__).parent / "_proto"
    output = folder / "descriptors"
    names = [f"{prefix}{path.name}" for path in sorted(folder.glob("*.proto"))]
    mapped = f"{prefix.rstrip('/')}={folder}" if prefix else str(folder)
    arguments = ["protoc", f"-I{mapped}", f"-I{well_known}", f"--descriptor_set_out={output}"]
    assert protoc.main([*arguments, *names]) == 0
    files = descriptor_pb2.FileDescriptorSet.FromString(output.read_bytes())
    found = {}
    for file in files.file:
        for message in file.message_type:
            collect(file.package, message, found)
        for service in file.service:
            for method in service.method:
                streams = (method.client_streaming, method.server_streaming)
                told = (method.input_type, method.output_type, *streams)
                found[f"{file.package}.{service.name}", method.name] = told
    return found


def collect(package, message, found):
    name = f"{package}.{message.name}"
    for field in message.field:
        oneof = message.oneof_decl[field.oneof_index].name if field.HasField("oneof_index") else ""
        kind = (field.name, field.type, field.label, field.type_name, oneof)
        found[name, field.number] = kind
    for nested in message.nested_type:
        collect(name, nested, found)
    for enum in message.enum_type:
        for value in enum.value:
            found[f"{name}.{enum.name}", value.number] = value.name


@pytest.fixture
def own(tmp_path):
    """Every field of our schema files."""
    for source in generate.SOURCES.glob("*.proto"):
        Path(tmp_path, source.name).write_text(source.read_text())
    return described(tmp_path, "reference_mesh/proto/")


def test_every_field_is_the_real_apis(own, real):
    """Compared where cargo has fetched the crate; elsewhere the numbers below stand for it."""
    if real is not None:
        assert {key: told for key, told in own.items() if real.get(key) != told} == {}


def test_fields_that_are_easily_got_wrong(own):
    outbound, inbound = "io.linkerd.proxy.outbound", "io.linkerd.proxy.inbound"
    names = {
        (f"{outbound}.Backend", 4): "queue",
        (f"{outbound}.GrpcRoute.Retry.Conditions", 4): "deadine_exceeded",
        (f"{outbound}.HttpRoute.RouteBackend", 3): "filters",
        (f"{inbound}.Authn", 2): "meshTLS",
        (f"{inbound}.ProxyProtocol.Detect", 3): "http_routes",
        ("io.linkerd.proxy.destination.WeightedAddr", 5): "tls_identity",
        ("io.linkerd.proxy.destination.ProtocolHint", 2): "opaque_transport",
        ("io.linkerd.proxy.identity.CertifyResponse", 3): "valid_until",
    }
    assert {key: own[key][0] for key in names} == names


def test_only_packages_of_the_real_api(own):
    assert all(re.match(r"io\.linkerd\.proxy\.[a-z_]+\.", name) for name, _ in own)
