"""People at the admin: clients that are signed in, and requests as the browser makes them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from tenants import tickets
from tenants.middleware import SESSION_KEY, choose_tenant
from tenants.models import Membership, Role, Site, Tenant
from tenants.scope import platform_scope, tenant_scope

_numbers = itertools.count(1)


def new_user(username: str | None = None, **fields: Any) -> User:
    """An account that may sign in to the admin; nothing more."""
    name = username or f"person-{next(_numbers)}"
    return User.objects.create_user(name, **{"email": f"{name}@example.com", "is_staff": True} | fields)


def sign_in(
    tenant: Tenant, role: str = Role.OWNER, *, username: str | None = None, sites: Iterable[Site] = ()
) -> Client:
    """A browser of somebody who works for `tenant` in `role`, limited to `sites` if there are any."""
    user = new_user(username)
    with platform_scope(), tenant_scope(tenant):
        Membership.objects.create(user=user, role=role).sites.set(sites)
    return client_of(user)


def sign_in_superuser(username: str = "root") -> Client:
    """A browser of a platform administrator; works for the first tenant."""
    return client_of(new_user(username, is_superuser=True))


class Browser(Client):
    """A browser whose forms have just been opened: what it posts to the admin carries a fresh ticket.

    For tests of what a form does. Those of the tickets take them from pages (tests/tenants/test_submissions.py).
    """

    user: User

    def post(self, path: str, data: Any = None, *args: Any, **kwargs: Any) -> Any:
        if path.startswith("/admin/") and isinstance(data, dict | None) and tickets.FIELD not in (data or {}):
            tenant, _ = choose_tenant(self.user, self.session.get(SESSION_KEY))
            tenant_id = None if tenant is None else tenant.pk
            bare = path.partition("?")[0]
            ticket = tickets.sign(user_id=self.user.pk, tenant_id=tenant_id, path=bare, shown={})
            data = {**(data or {}), tickets.FIELD: ticket}
        return super().post(path, data, *args, **kwargs)


def client_of(user: User) -> Client:
    client = Browser()
    client.user = user
    client.force_login(user)
    return client


def url(name: str, *args: Any) -> str:
    return reverse(f"admin:{name}", args=args)


def submit(client: Client, name: str, *args: Any, **fields: Any) -> HttpResponse:
    """Fill in a dialog and press its button, as htmx does."""
    return client.post(url(name, *args), {"_form_submitted": "on", **fields}, headers={"HX-Request": "true"})


def text_of(response: Any) -> str:
    """The page as text, rendered."""
    return str(response.content.decode())
