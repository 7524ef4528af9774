"""`{% tenant_switch %}`: whom the person works for, and the form to change that."""

from __future__ import annotations

from typing import Any

from django import template

from tenants.middleware import available_tenants
from tenants.permissions import scopes_of

register = template.Library()

# Beyond this many, the list of tenants is the better place to choose from.
MAX_CHOICES = 200


@register.inclusion_tag("tenants/tenant_switch.html", takes_context=True)
def tenant_switch(context: Any) -> dict[str, Any]:
    """The tenant at work, the role in it, and the tenants to choose from. One query a page."""
    request = context["request"]
    tenants = available_tenants(request.user)
    membership = getattr(request, "membership", None)
    return {
        "request": request,
        "csrf_token": context.get("csrf_token"),
        "tenant": getattr(request, "tenant", None),
        "role": membership.get_role_display() if membership else "Platform administrator",
        "read_only": membership is not None and len(scopes_of(membership)) <= 1,
        "tenants": tenants if 1 < len(tenants) <= MAX_CHOICES else [],
        "too_many": len(tenants) > MAX_CHOICES,
    }
