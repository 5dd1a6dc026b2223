"""Views: compiled when something that they read changes, and only then."""

from __future__ import annotations

import asyncio

import pytest

from reference_mesh.control_plane.fanout import Closed

OTHER = "kind: Service\nmetadata: {name: other, namespace: shop}\nspec: {clusterIP: 10.96.0.8}"


def ports_of_web(reader):
    service = reader.service("shop", "web")
    return None if service is None else tuple(port.number for port in service.ports)


def test_only_what_was_read_is_compiled_again(cluster, changed):
    async def scenario():
        with cluster.views.watching("web", ports_of_web) as view:
            assert view.value is None
            compiled = cluster.views.compiled
            cluster.apply(OTHER)
            cluster.views.flush()
            assert cluster.views.compiled == compiled
            cluster.apply(changed("service"))
            cluster.views.flush()
            assert view.value == (80,)

    asyncio.run(scenario())


def test_same_value_wakes_nobody(shop, changed):
    async def scenario():
        with shop.views.watching("web", ports_of_web) as view:
            noted = "annotations: {config.linkerd.io/opaque-ports: '81'}"
            shop.apply(changed("service", ("annotations: {}", noted)))
            shop.views.flush()
            assert view.generation == 1

    asyncio.run(scenario())


def test_slow_watcher_gets_the_newest_value(shop, changed):
    async def scenario():
        with shop.views.watching("web", ports_of_web) as view:
            for port in (81, 82, 83):
                shop.apply(changed("service", ("port: 80,", f"port: {port},")))
                shop.views.flush()
            assert await view.after(1) == (83,)
            assert view.generation == 4

    asyncio.run(scenario())


def test_changes_are_gathered(shop, changed):
    async def scenario():
        with shop.views.watching("web", ports_of_web) as view:
            compiled = shop.views.compiled
            for port in (81, 82, 83):
                shop.apply(changed("service", ("port: 80,", f"port: {port},")))
            assert await view.after(1) == (83,)
            assert shop.views.compiled == compiled + 1

    asyncio.run(scenario())


def test_an_object_that_cannot_be_read_is_absent(shop):
    async def scenario():
        with shop.views.watching("web", ports_of_web) as view:
            shop.apply("kind: Service\nmetadata: {name: web, namespace: shop}\nspec: {ports: [{}]}")
            shop.views.flush()
            assert view.value is None

    asyncio.run(scenario())


def test_a_view_that_cannot_be_compiled_at_first_is_not_kept(shop):
    def broken(reader):
        reader.service("shop", "web")
        raise ZeroDivisionError

    async def scenario():
        for _ in range(2):
            with pytest.raises(ZeroDivisionError), shop.views.watching("broken", broken):
                pass
        assert shop.views.watched == 0

    asyncio.run(scenario())


def test_end(shop):
    async def scenario():
        with shop.views.watching("web", ports_of_web) as view:
            waiting = asyncio.ensure_future(view.after(view.generation))
            await asyncio.sleep(0)
            shop.views.close()
            with pytest.raises(Closed):
                await waiting
        with pytest.raises(Closed), shop.views.watching("web", ports_of_web):
            pass

    asyncio.run(scenario())


def test_what_is_derived_is_made_once_per_value(shop, changed):
    async def scenario():
        made = []
        with shop.views.watching("web", ports_of_web) as view:
            for _ in range(3):
                view.derived("shown", lambda: made.append(view.value))
            assert made == [(80,)]
            shop.apply(changed("service", ("port: 80,", "port: 81,")))
            shop.views.flush()
            view.derived("shown", lambda: made.append(view.value))
            assert made == [(80,), (81,)]

    asyncio.run(scenario())


def test_a_view_that_cannot_be_compiled_keeps_its_value(shop, changed):
    """A defect in one view must not stop the others, nor the component."""

    def brittle(reader):
        ports = ports_of_web(reader)
        if ports == (81,):
            raise ZeroDivisionError
        return ports

    async def scenario():
        with (
            shop.views.watching("brittle", brittle) as view,
            shop.views.watching("web", ports_of_web) as other,
        ):
            shop.apply(changed("service", ("port: 80,", "port: 81,")))
            shop.views.flush()
            assert (view.value, other.value) == ((80,), (81,))
            shop.apply(changed("service", ("port: 80,", "port: 82,")))
            shop.views.flush()
            assert view.value == (82,)

    asyncio.run(scenario())
