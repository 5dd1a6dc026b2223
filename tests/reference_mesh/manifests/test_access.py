from __future__ import annotations

from reference_mesh.control_plane.following import SOURCES
from reference_mesh.manifests import access


def test_destination_may_read_what_it_follows_and_nothing_else() -> None:
    role = next(
        item
        for item in access.documents("linkerd")
        if item["kind"] == "ClusterRole" and item["metadata"]["name"].endswith("-destination")
    )
    granted = {
        (group, resource): set(rule["verbs"])
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    followed = {(source.kind.group, source.kind.plural) for source in SOURCES}
    assert set(granted) == followed
    assert all(verbs == {"list", "watch"} for verbs in granted.values())
