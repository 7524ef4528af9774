"""Switching between the tenants that a person works for."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponseRedirect
from django.shortcuts import resolve_url
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

from tenants.middleware import SESSION_KEY, choose_tenant


@login_required
@require_POST
def switch_tenant(request: HttpRequest) -> HttpResponseRedirect:
    """Work for another tenant from the next request on. POST `tenant` (id) and, optionally, `next` (a local URL).

    Errors: 404 for a tenant that does not exist or that the person does not work for; the two look the same.
    """
    wanted = request.POST.get("tenant", "")
    wanted_id = int(wanted) if wanted.isascii() and wanted.isdigit() and len(wanted) < 19 else None
    tenant, _ = choose_tenant(request.user, wanted_id)
    if wanted_id is None or tenant is None or tenant.pk != wanted_id:
        raise Http404("No such tenant.")
    request.session[SESSION_KEY] = wanted_id
    target = request.POST.get("next", "")
    if not url_has_allowed_host_and_scheme(
        target, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    ):
        target = resolve_url(settings.LOGIN_REDIRECT_URL)
    return HttpResponseRedirect(target)
