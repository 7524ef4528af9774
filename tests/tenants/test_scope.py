from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Iterator

import pytest
from asgiref.sync import async_to_sync, sync_to_async

from tenants.models import Tenant
from tenants.scope import (
    PLATFORM,
    CrossTenantScope,
    NoTenantScope,
    current_scope,
    current_tenant_id,
    platform_scope,
    tenant_scope,
)


def test_no_scope_is_open_at_first() -> None:
    assert current_scope() is None
    with pytest.raises(NoTenantScope, match="No tenant scope is open"):
        current_tenant_id()


def test_tenant_scope_takes_a_tenant_or_its_id_and_ends_with_the_block() -> None:
    with tenant_scope(Tenant(pk=7, slug="seven")) as tenant_id:
        assert tenant_id == 7
        assert current_tenant_id() == 7
        assert current_scope() == 7
    with tenant_scope(8):
        assert current_tenant_id() == 8
    assert current_scope() is None


@pytest.mark.parametrize("nobody", [None, Tenant(slug="unsaved"), "7", True])
def test_what_is_no_saved_tenant_opens_no_scope(nobody: object) -> None:
    with pytest.raises(NoTenantScope, match="no saved tenant"):
        tenant_scope(nobody)  # type: ignore[arg-type]


def test_same_tenant_may_nest() -> None:
    with tenant_scope(7):
        with tenant_scope(7):
            assert current_tenant_id() == 7
        assert current_tenant_id() == 7


def test_another_tenants_scope_is_refused_inside_a_tenants_scope() -> None:
    with tenant_scope(7):
        with pytest.raises(CrossTenantScope), tenant_scope(8):
            pytest.fail("the scope was opened")
        assert current_tenant_id() == 7


def test_platform_scope_belongs_to_no_tenant_and_lets_tenants_in_one_after_the_other() -> None:
    with platform_scope():
        assert current_scope() is PLATFORM
        with pytest.raises(NoTenantScope, match="belongs to no tenant"):
            current_tenant_id()
        for tenant_id in (7, 8):
            with tenant_scope(tenant_id):
                assert current_tenant_id() == tenant_id
        assert current_scope() is PLATFORM
    assert current_scope() is None


def test_platform_scope_inside_a_tenants_scope_gives_it_back() -> None:
    with tenant_scope(7):
        with platform_scope():
            assert current_scope() is PLATFORM
        assert current_tenant_id() == 7


def test_scope_ends_when_the_block_raises() -> None:
    with pytest.raises(ZeroDivisionError), tenant_scope(7):
        raise ZeroDivisionError
    assert current_scope() is None


def test_scopes_are_decorators_that_may_recurse() -> None:
    @tenant_scope(7)
    def seen(depth: int) -> list[int]:
        return [current_tenant_id()] + (seen(depth - 1) if depth else [])

    @platform_scope()
    def platform_then(depth: int) -> object:
        return platform_then(depth - 1) if depth else current_scope()

    assert seen(2) == [7, 7, 7]
    assert platform_then(2) is PLATFORM
    assert current_scope() is None


def test_scope_follows_await_tasks_and_sync_to_async() -> None:
    async def scenario() -> list[object]:
        with tenant_scope(7):
            task = asyncio.create_task(asyncio.sleep(0, result=None))
            await task
            return [
                current_scope(),
                await asyncio.create_task(scope_later()),
                await sync_to_async(current_scope)(),
                await sync_to_async(current_scope, thread_sensitive=False)(),
            ]

    async def scope_later() -> object:
        await asyncio.sleep(0)
        return current_scope()

    assert async_to_sync(scenario)() == [7, 7, 7, 7]


def test_concurrent_tasks_have_scopes_of_their_own() -> None:
    async def scenario() -> list[int]:
        both_inside = asyncio.Barrier(2)

        async def one(tenant_id: int) -> int:
            with tenant_scope(tenant_id):
                await both_inside.wait()
                return current_tenant_id()

        return await asyncio.gather(one(7), one(8))

    assert async_to_sync(scenario)() == [7, 8]


def test_thread_starts_without_a_scope() -> None:
    seen: list[object] = []
    with tenant_scope(7):
        thread = threading.Thread(target=lambda: seen.append(current_scope()))
        thread.start()
        thread.join()
    assert seen == [None]


def test_generator_closed_in_another_context_leaves_that_context_alone() -> None:
    def rows() -> Iterator[int]:
        with tenant_scope(7):
            yield current_tenant_id()

    generator = rows()
    assert contextvars.copy_context().run(next, generator) == 7
    generator.close()
    assert current_scope() is None
