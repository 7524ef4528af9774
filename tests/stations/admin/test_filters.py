"""A filter that cannot be understood is refused with a sentence, and never shows every row."""

from __future__ import annotations

import pytest
from django.contrib import admin
from django.contrib.admin import SimpleListFilter

from tenants.models import Tenant
from tests.stations.admin.people import sign_in, text_of, url
from tests.stations.rows import new_charge_point

# They show no row, or name what is chosen, for what does not exist.
NAMES_ROWS = {"charge_point", "site", "batch"}
OWN = sorted(
    (f"{model._meta.app_label}_{model._meta.model_name}_changelist", each.parameter_name or "")
    for model, model_admin in admin.site._registry.items()
    for each in model_admin.list_filter
    if isinstance(each, type) and issubclass(each, SimpleListFilter) and each.parameter_name not in NAMES_ROWS
)


@pytest.mark.parametrize(("page", "parameter"), OWN)
def test_nonsense_in_a_filter_of_ours_is_refused(in_tenant_a: Tenant, page: str, parameter: str) -> None:
    response = sign_in(in_tenant_a).get(url(page), {parameter: "no<such>thing"})
    assert response.status_code == 400
    assert "has no choice &quot;no&lt;such&gt;thing&quot;" in text_of(response)


@pytest.mark.parametrize("query", ["after=xyz", "connected__exact=maybe", "disabled__exact=abc"])
def test_parameter_that_the_list_does_not_have_is_refused(in_tenant_a: Tenant, query: str) -> None:
    new_charge_point("MARK-1")
    response = sign_in(in_tenant_a).get(f"{url('stations_chargepoint_changelist')}?{query}")
    assert response.status_code == 400
    assert "MARK-1" not in text_of(response)


@pytest.mark.parametrize(("presence", "shown"), [("connected", "ON"), ("lost", "LOST"), ("never", "NEVER")])
def test_lost_and_never_connected_are_told_apart(in_tenant_a: Tenant, presence: str, shown: str) -> None:
    new_charge_point("CP-ON")
    row = new_charge_point("CP-LOST", connected=False)
    row.connected_at = row.created_at
    row.save()
    new_charge_point("CP-NEVER", connected=False)
    page = text_of(sign_in(in_tenant_a).get(url("stations_chargepoint_changelist"), {"presence": presence}))
    assert [name for name in ("ON", "LOST", "NEVER") if f"CP-{name}<" in page] == [shown]


@pytest.mark.parametrize("query", ["kind=nonsense", "severity=loud", "charge_point=abc", "after=x"])
def test_list_of_what_needs_attention_refuses_nonsense(in_tenant_a: Tenant, query: str) -> None:
    assert sign_in(in_tenant_a).get(f"{url('stations_attention')}?{query}").status_code == 400


def test_list_of_what_needs_attention(in_tenant_a: Tenant) -> None:
    new_charge_point("CP-NEVER", connected=False)
    client = sign_in(in_tenant_a)
    page = text_of(client.get(url("stations_attention")))
    assert "CP-NEVER" in page
    assert "Has never been connected" in page
    assert "CP-NEVER" not in text_of(client.get(url("stations_attention"), {"kind": "offline"}))
