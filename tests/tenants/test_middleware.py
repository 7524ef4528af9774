from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth.models import AnonymousUser, User
from django.http import FileResponse, HttpRequest, HttpResponse, StreamingHttpResponse
from django.test import Client, RequestFactory, override_settings
from django.urls import include, path
from django.utils import timezone

from tenants.middleware import TenantMiddleware, available_tenants
from tenants.models import Membership, Site
from tenants.scope import NoTenantScope, current_scope, tenant_scope

pytestmark = pytest.mark.django_db

urlpatterns = [path("tenants/", include("tenants.urls"))]


def _slugs() -> bytes:
    return ",".join(Site.objects.order_by("slug").values_list("slug", flat=True)).encode()


@pytest.fixture
def people(tenants: Any) -> dict[str, User]:
    """`anna` works for both tenants, `ben` for tenant b, `root` is a superuser, `nobody` works for none."""
    people = {
        name: User.objects.create(username=name, is_superuser=name == "root")
        for name in ("anna", "ben", "nobody", "root")
    }
    for tenant, names in ((tenants.tenant_b, ("ben", "anna")), (tenants.tenant_a, ("anna",))):
        with tenant_scope(tenant):
            Site.objects.create(slug=tenant.slug, name="Site")
            for name in names:
                Membership.objects.create(user=people[name], role="operator")
    return people


def _request(user: Any, session: dict[str, Any] | None = None) -> Any:
    request: Any = RequestFactory().get("/")
    request.user, request.session = user, session or {}
    return request


def _respond(request: Any, view: Callable[[HttpRequest], Any]) -> Any:
    return TenantMiddleware(view)(request)


def _view(request: HttpRequest) -> HttpResponse:
    return HttpResponse(_slugs())


class TestChoice:
    def test_anonymous_request_has_no_scope(self, people: Any) -> None:
        request = _request(AnonymousUser())
        with pytest.raises(NoTenantScope):
            _respond(request, _view)
        assert (request.tenant, request.membership) == (None, None)

    def test_person_who_works_for_nobody_has_no_scope(self, people: Any) -> None:
        request = _request(people["nobody"])
        with pytest.raises(NoTenantScope):
            _respond(request, _view)

    def test_first_membership_is_the_default(self, people: Any, tenants: Any) -> None:
        request = _request(people["anna"])
        assert _respond(request, _view).content == b"beta"
        assert request.tenant == tenants.tenant_b
        assert (request.membership.role, request.membership.user) == ("operator", people["anna"])
        assert current_scope() is None

    def test_session_chooses_among_the_memberships(self, people: Any, tenants: Any) -> None:
        assert _respond(_request(people["anna"], {"tenant_id": tenants.tenant_a.pk}), _view).content == b"alpha"

    @pytest.mark.parametrize("value", [10**6, "1", None, True])
    def test_session_that_names_no_tenant_is_ignored(self, people: Any, value: object) -> None:
        assert _respond(_request(people["ben"], {"tenant_id": value}), _view).content == b"beta"

    def test_session_cannot_choose_a_tenant_one_does_not_work_for(self, people: Any, tenants: Any) -> None:
        assert _respond(_request(people["ben"], {"tenant_id": tenants.tenant_a.pk}), _view).content == b"beta"

    def test_superuser_gets_any_tenant_without_being_a_member(self, people: Any, tenants: Any) -> None:
        request = _request(people["root"])
        assert _respond(request, _view).content == b"alpha"
        assert (request.tenant, request.membership) == (tenants.tenant_a, None)
        assert _respond(_request(people["root"], {"tenant_id": tenants.tenant_b.pk}), _view).content == b"beta"
        assert _respond(_request(people["root"], {"tenant_id": 10**6}), _view).content == b"alpha"

    def test_suspended_tenant_can_still_read(self, people: Any, tenants: Any) -> None:
        tenants.tenant_b.suspend(timezone.now())
        assert _respond(_request(people["ben"]), _view).content == b"beta"

    def test_costs_one_query_for_a_member(self, people: Any, django_assert_num_queries: Any) -> None:
        with django_assert_num_queries(1):
            _respond(_request(people["anna"]), lambda request: HttpResponse(request.tenant.slug))

    def test_tenants_to_switch_to(self, people: Any, tenants: Any) -> None:
        assert available_tenants(people["anna"]) == available_tenants(people["root"]) == list(tenants)
        assert available_tenants(people["ben"]) == [tenants.tenant_b]
        assert available_tenants(people["nobody"]) == available_tenants(AnonymousUser()) == []


class TestScope:
    def test_ends_with_an_exception(self, people: Any) -> None:
        def broken(request: HttpRequest) -> HttpResponse:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            _respond(_request(people["ben"]), broken)
        assert current_scope() is None

    def test_async_stack(self, people: Any) -> None:
        async def view(request: HttpRequest) -> HttpResponse:
            return HttpResponse(await sync_to_async(_slugs)())

        async def scenario() -> tuple[bytes, object]:
            response = await _respond(_request(people["ben"]), view)
            return response.content, current_scope()

        assert async_to_sync(scenario)() == (b"beta", None)

    def test_streaming_response_is_produced_in_the_scope(self, people: Any) -> None:
        def chunks() -> Iterator[bytes]:
            yield _slugs()
            yield b";"
            yield _slugs()

        response = _respond(_request(people["ben"]), lambda request: StreamingHttpResponse(chunks()))
        seen = []
        for chunk in response:
            assert current_scope() is None
            seen.append(chunk)
        assert seen == [b"beta", b";", b"beta"]

    def test_async_streaming_response_is_produced_in_the_scope(self, people: Any) -> None:
        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(2):
                yield await sync_to_async(_slugs)()

        async def view(request: HttpRequest) -> StreamingHttpResponse:
            return StreamingHttpResponse(chunks())

        async def scenario() -> list[bytes]:
            response = await _respond(_request(people["ben"]), view)
            return [chunk async for chunk in response]

        assert async_to_sync(scenario)() == [b"beta", b"beta"]

    def test_interrupted_stream_leaves_no_scope(self, people: Any) -> None:
        def chunks() -> Iterator[bytes]:
            yield b"first"
            raise ZeroDivisionError

        response = _respond(_request(people["ben"]), lambda request: StreamingHttpResponse(chunks()))
        iterator = iter(response)
        assert next(iterator) == b"first"
        with pytest.raises(ZeroDivisionError):
            next(iterator)
        assert current_scope() is None

    def test_file_response_keeps_its_file(self, people: Any, tmp_path: Any) -> None:
        (tmp_path / "file").write_bytes(b"content")
        response = _respond(_request(people["ben"]), lambda request: FileResponse((tmp_path / "file").open("rb")))
        assert response.file_to_stream is not None
        assert b"".join(response) == b"content"
        response.close()


class TestSwitch:
    @pytest.fixture(autouse=True)
    def _urls_of_this_module(self) -> Iterator[None]:
        with override_settings(ROOT_URLCONF=__name__, LOGIN_REDIRECT_URL="/admin/", LOGIN_URL="/sign-in/"):
            yield

    def _switch(self, user: User | None, method: str = "post", **data: Any) -> Any:
        client = Client()
        if user is not None:
            client.force_login(user)
        return getattr(client, method)("/tenants/switch/", data)

    def test_remembers_the_tenant_and_goes_back(self, people: Any, tenants: Any) -> None:
        response = self._switch(people["anna"], tenant=tenants.tenant_a.pk, next="/admin/sites/?q=1")
        assert (response.status_code, response.url) == (302, "/admin/sites/?q=1")
        assert response.client.session["tenant_id"] == tenants.tenant_a.pk

    @pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example", "javascript:alert(1)", ""])
    def test_goes_nowhere_else(self, people: Any, tenants: Any, target: str) -> None:
        assert self._switch(people["anna"], tenant=tenants.tenant_a.pk, next=target).url == "/admin/"

    def test_foreign_and_absent_tenants_look_the_same(self, people: Any, tenants: Any) -> None:
        for tenant in (tenants.tenant_a.pk, 10**6, 10**30, "", "x", "-1", "²"):
            response = self._switch(people["ben"], tenant=tenant)
            assert response.status_code == 404
            assert "tenant_id" not in response.client.session

    def test_superuser_may_switch_to_any(self, people: Any, tenants: Any) -> None:
        assert self._switch(people["root"], tenant=tenants.tenant_b.pk).status_code == 302

    def test_takes_posts_of_signed_in_people_with_a_token(self, people: Any, tenants: Any) -> None:
        assert self._switch(people["anna"], "get", tenant=tenants.tenant_a.pk).status_code == 405
        assert self._switch(None, tenant=tenants.tenant_a.pk).url.startswith("/sign-in/")
        client = Client(enforce_csrf_checks=True)
        client.force_login(people["anna"])
        assert client.post("/tenants/switch/", {"tenant": tenants.tenant_a.pk}).status_code == 403
