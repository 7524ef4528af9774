"""TenantMiddleware: which tenant a signed-in person works for in this request, and the scope that follows from it.

Sets `request.tenant` and `request.membership` (None for anonymous requests, and for superusers who are no members). The
scope is open while the view runs, and again for every chunk of a streaming response, which is produced after the
middleware has returned. A form of the admin is answered in the scope of the tenant that it was opened for
(tenants/submissions.py). A suspended tenant keeps its scope: reading goes on, and tenants/permissions.py refuses the
rest. Must come after AuthenticationMiddleware.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.http import FileResponse, HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.utils import timezone

from tenants.models import Membership, Tenant
from tenants.scope import platform_scope, tenant_scope
from tenants.submissions import ANOTHER_TENANT, SWITCH, TENANT_GONE, Submission, read_submission

SESSION_KEY = "tenant_id"
_EXHAUSTED = object()


class TenantMiddleware:
    """Works in synchronous and asynchronous stacks, without a thread hop of its own around the view."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self.is_async:
            return self._respond(request)
        _set_tenant(request)
        with _scope(request):
            response = self.get_response(request)
        return _keep_scope(request, response)

    async def _respond(self, request: HttpRequest) -> HttpResponseBase:
        await sync_to_async(_set_tenant)(request)
        with _scope(request):
            response = await self.get_response(request)
        return _keep_scope(request, response)


def available_tenants(user: Any) -> list[Tenant]:
    """The tenants that `user` may switch to, by slug: those they are a member of, for a superuser all."""
    if not user.is_authenticated:
        return []
    # A person may work for several tenants; which ones is asked before any scope is open.
    with platform_scope():
        if user.is_superuser:
            return list(Tenant.objects.order_by("slug"))
        tenant_ids = Membership.objects.filter(user=user).values("tenant_id")
        return list(Tenant.objects.filter(pk__in=tenant_ids).order_by("slug"))


def choose_tenant(user: Any, wanted_id: int | None) -> tuple[Tenant | None, Membership | None]:
    """The tenant `wanted_id` if `user` may work for it, else their first; and their membership in it.

    Superusers may work for every tenant; without a membership their tenant comes alone.
    """
    if not user.is_authenticated:
        return None, None
    with platform_scope():
        memberships = list(Membership.objects.filter(user=user).select_related("tenant").order_by("pk"))
        by_tenant = {membership.tenant_id: membership for membership in memberships}
        membership = by_tenant.get(wanted_id) if wanted_id is not None else None
        if membership is None and user.is_superuser:
            tenant = Tenant.objects.filter(pk=wanted_id).first() if wanted_id is not None else None
            if tenant is not None:
                return tenant, None
        if membership is None and memberships:
            membership = memberships[0]
        if membership is not None:
            return membership.tenant, membership
        return (Tenant.objects.order_by("pk").first() if user.is_superuser else None), None


def _set_tenant(request: Any) -> None:
    request.tenant, request.membership = None, None
    user = request.user
    if user.is_authenticated:
        wanted = request.session.get(SESSION_KEY)
        request.tenant, request.membership = choose_tenant(user, wanted if isinstance(wanted, int) else None)
        request.csms_submission = read_submission(request)
        if request.csms_submission is not None:
            _follow(request, request.csms_submission)


def _follow(request: Any, submission: Submission) -> None:
    """Act in the tenant that the form was opened for; refuse when that is not the one the person works for now.

    The person may say in the form that they want to work for it again.
    """
    opened_for = None if submission.ticket is None else submission.ticket.tenant_id
    if opened_for is None or (request.tenant is not None and request.tenant.pk == opened_for):
        return
    tenant, membership = choose_tenant(request.user, opened_for)
    if tenant is None or tenant.pk != opened_for:
        submission.refuse(TENANT_GONE, again=False)
        return
    if SWITCH in request.POST:
        request.session[SESSION_KEY] = opened_for
    else:
        submission.refuse(ANOTHER_TENANT.format(tenant, request.tenant))
        submission.switch_to = tenant
    request.tenant, request.membership = tenant, membership


@contextmanager
def _scope(request: Any) -> Iterator[None]:
    """The tenant's scope, and its time zone for the pages that people read; none for anonymous requests."""
    if request.tenant is None:
        yield
        return
    with tenant_scope(request.tenant), timezone.override(request.tenant.zone):
        yield


def _keep_scope(request: Any, response: HttpResponseBase) -> HttpResponseBase:
    """Have a streaming response produce each chunk in the request's scope. Files are bytes already."""
    if request.tenant is None or not response.streaming or isinstance(response, FileResponse):
        return response
    streaming = cast(StreamingHttpResponse, response)
    chunks: Any = streaming.streaming_content
    tenant_id = request.tenant.pk
    streaming.streaming_content = (
        _scoped_async_chunks(aiter(chunks), tenant_id)
        if streaming.is_async
        else _scoped_chunks(iter(chunks), tenant_id)
    )
    return response


def _scoped_chunks(chunks: Iterator[bytes], tenant_id: int) -> Iterator[bytes]:
    # Open per chunk: between two chunks the thread may serve another request.
    while True:
        with tenant_scope(tenant_id):
            chunk = next(chunks, _EXHAUSTED)
        if chunk is _EXHAUSTED:
            return
        yield cast(bytes, chunk)


async def _scoped_async_chunks(chunks: AsyncIterator[bytes], tenant_id: int) -> AsyncIterator[bytes]:
    while True:
        with tenant_scope(tenant_id):
            chunk = await anext(chunks, _EXHAUSTED)
        if chunk is _EXHAUSTED:
            return
        yield cast(bytes, chunk)
