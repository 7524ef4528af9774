"""Every form and dialog of the admin: tenant switched in between, row changed in between, sent twice.

The walk goes over the URL configuration, so a new form is in it without being named. It fails for one that it cannot
send: what such a form needs stands in FILLED; and for rows that it cannot change: that stands in CHANGED.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import models
from django.test import Client
from django.urls import URLPattern, reverse

from stations.models import (
    Certificate,
    CertificateAuthority,
    CertificateRequest,
    ChargePoint,
    ChargingProfile,
    Command,
    FirmwareImage,
    IdTag,
    Reservation,
    RootCertificate,
    SecurityEvent,
    Transaction,
    VendorExtension,
)
from stations.models.connection import StrayHandshake
from tenants.models import ApiKey, Guessing, Membership, Site, Tenant
from tenants.scope import platform_scope, tenant_scope
from tests.conftest import Tenants
from tests.stations.admin.every_form import (
    Form,
    address_of,
    addresses,
    everything,
    form_at,
    forms_of,
    is_dialog,
)
from tests.stations.admin.people import new_user, sign_in_superuser, text_of
from tests.stations.admin.test_isolation import ROWS
from tests.stations.rows import NOW
from tests.x509 import make

FORMS = [
    pytest.param(model, pattern, about_one, id=str(pattern.name))
    for model in admin.site._registry
    for pattern, about_one in addresses(model)
]
OF_A_ROW = [case for case in FORMS if case.values[2]]

# What somebody else does to a row meanwhile.
CHANGED: dict[type[models.Model], dict[str, Any]] = {
    ApiKey: {"revoked_at": NOW},
    Certificate: {"state": "revoked"},
    CertificateAuthority: {"name": "Somebody's"},
    CertificateRequest: {"state": "refused"},
    ChargePoint: {"description": "Somebody's"},
    ChargingProfile: {"description": "Somebody's"},
    Command: {"status": "sent"},
    FirmwareImage: {"description": "Somebody's"},
    IdTag: {"driver": "Somebody's"},
    Membership: {"role": "operator"},
    Reservation: {"status": "cancelled"},
    RootCertificate: {"name": "Somebody's"},
    SecurityEvent: {"acknowledged_at": NOW},
    Site: {"address": "Somebody's"},
    Tenant: {"name": "Somebody's"},
    Transaction: {"stopped_at": NOW},
    User: {"first_name": "Somebody's"},
    VendorExtension: {"description": "Somebody's"},
}


PROFILE = json.dumps(
    {
        "stackLevel": 0,
        "chargingProfilePurpose": "TxProfile",
        "chargingProfileKind": "Relative",
        "chargingSchedule": {
            "chargingRateUnit": "A",
            "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 6}],
        },
    }
)
HASH_DATA = json.dumps({"hashAlgorithm": "SHA256", "issuerNameHash": "a", "issuerKeyHash": "b", "serialNumber": "1"})


@cache
def a_root() -> str:
    with TemporaryDirectory() as folder:
        return make(Path(folder), "Root", ca=True).pem


def an_image() -> SimpleUploadedFile:
    return SimpleUploadedFile("image.bin", b"firmware")


# What is filled in; a function is asked when the form is sent.
FILLED: dict[str, dict[str, Any]] = {
    "auth_user_add": {"username": "fresh", "password1": "correct horse battery", "password2": "correct horse battery"},
    "auth_user_password_change": {"password1": "correct horse battery", "password2": "correct horse battery"},
    "stations_chargepoint_add": {"identity": "FRESH"},
    "stations_chargepoint_cancel_reservation": {"reservation_id": 1},
    "stations_chargepoint_change_configuration": {"key": "HeartbeatInterval", "value": "60"},
    "stations_chargepoint_clear_charging_profile": {"profile_id": 1},
    "stations_chargepoint_data_transfer": {"vendor_id": "org.example"},
    "stations_chargepoint_lower_security_profile": {"identity": "SECRET-OF-ALPHA", "profile": 0, "reason": "a test"},
    "stations_chargepoint_remote_start": {"id_tag": "TAG"},
    "stations_chargepoint_remote_start_with_profile": {"id_tag": "TAG", "profile": PROFILE},
    "stations_chargepoint_remote_stop": {"transaction_id": 7},
    "stations_chargepoint_reserve": {"connector_id": 1, "id_tag": "TAG"},
    "stations_chargepoint_set_charging_profile": {"connector_id": 1, "profile": PROFILE},
    "stations_chargepoint_unlock_connector": {"connector_id": 1},
    "stations_chargepoint_update_firmware": {"location": "ftp://h/f"},
    "stations_certificate_revoke": {"why": "a test"},
    "stations_certificateauthority_add": {"name": "Fresh", "kind": "trusted", "key_type": "", "certificate": a_root},
    "stations_chargepoint_delete_certificate": {"hash_data": HASH_DATA},
    "stations_chargepoint_install_certificate": {
        "certificate": a_root,
        "certificate_type": "CentralSystemRootCertificate",
    },
    "stations_chargepoint_signed_update_firmware": {
        "location": "ftp://h/f",
        "signature": "QUJDREVG",
        "signing_certificate": a_root,
    },
    "stations_chargingprofile_add": {"use_json": "on", "as_json": PROFILE},
    "stations_firmwareimage_add": {"name": "Fresh", "file": an_image},
    "stations_idtag_add": {"id_tag": "FRESH"},
    "stations_rootcertificate_add": {"name": "Fresh", "certificate": a_root},
    "stations_vendorextension_add": {"vendor_id": "org.fresh"},
    "tenants_membership_add": {"person": "second"},
    "tenants_site_add": {"name": "Fresh", "slug": "fresh"},
    "tenants_apikey_add": {"name": "Fresh"},
    "tenants_tenant_add": {"name": "Fresh", "slug": "fresh"},
}
# What needs a document signed by an authority that exists, or a list chosen before; their own tests send them.
NOT_FILLED = {
    "stations_certificateauthority_import_crl",
    "stations_certificaterequest_import_chain",
    "stations_chargepoint_sync_local_list",
}


def place_of(response: Any) -> str:
    """Where an answer leads, as htmx or as a redirect; empty for a page that is shown again."""
    return str(response.headers.get("HX-Redirect") or response.headers.get("Location", ""))


def errors_of(page: str) -> list[str]:
    found = re.findall(r'class="(?:errornote|errorlist)[^>]*>(.*?)</(?:div|ul)', page, re.S)
    return [" ".join(re.sub(r"<[^>]*>", " ", each).split()) for each in found]


# Rows that belong to no tenant; those of tenants are made as the isolation tests make them.
OF_THE_PLATFORM: dict[type[models.Model], Callable[[], models.Model]] = {
    Guessing: lambda: Guessing.objects.create(
        kind="sign_in", account="ada", address="::1", day=NOW.date(), times=1, first_at=NOW, last_at=NOW
    ),
    StrayHandshake: lambda: StrayHandshake.objects.create(
        path="/ocpp/none/CP-1", address="::1", reason="unknown_tenant", times=1, first_at=NOW, last_at=NOW
    ),
    User: lambda: new_user("SECRET-OF-ALPHA"),
}


def row_of_a(tenants: Tenants, model: type[models.Model]) -> models.Model:
    if model in OF_THE_PLATFORM:
        return OF_THE_PLATFORM[model]()
    with tenant_scope(tenants.tenant_a):
        return ROWS[model](tenants.tenant_a)


class Walker:
    """A platform administrator who works for tenant a, at one address."""

    def __init__(self, tenants: Tenants, model: type[models.Model], pattern: URLPattern, about_one: bool) -> None:
        self.tenants, self.model, self.pattern = tenants, model, pattern
        self.client: Client = sign_in_superuser()
        self.row = row_of_a(tenants, model)
        self.address = address_of(pattern, self.row if about_one else None)
        self.form: Form | None = form_at(self.client, self.address, pattern)
        assert self.form is not None or not is_dialog(pattern), f"{pattern.name} is a dialog without a form"

    def send(self, **values: Any) -> Any:
        assert self.form is not None
        headers = {"HX-Request": "true"} if is_dialog(self.pattern) else {}
        asked = {name: value() if callable(value) else value for name, value in values.items()}
        return self.client.post(self.address, self.form.with_values(**asked), headers=headers)


@pytest.mark.parametrize(("model", "pattern", "about_one"), FORMS)
def test_form_is_not_sent_into_another_tenant(tenants: Tenants, model: Any, pattern: Any, about_one: bool) -> None:
    walker = Walker(tenants, model, pattern, about_one)
    if walker.form is None:
        return
    typed = {name: "typed-by-me" for name in walker.form.typed if walker.form.fields[name] == [""]}
    before = everything()
    walker.client.post(reverse("tenants:switch"), {"tenant": tenants.tenant_b.pk})

    response = walker.send(**typed)

    assert everything() == before
    if response.status_code == 403:
        return  # A page that only looks like a form: nobody may send it, wherever it was opened.
    assert response.status_code == 409
    page = text_of(response)
    assert "was opened for Alpha, and you work for Beta now" in page
    assert 'name="csms_switch"' in page
    again = next(form for form in forms_of(page if "<form" in page else f'<form method="post">{page}</form>'))
    kept = {name: again.fields.get(name) for name in typed if "password" not in name}
    assert kept == {name: ["typed-by-me"] for name in kept}


@pytest.mark.parametrize(("model", "pattern", "about_one"), OF_A_ROW)
def test_form_does_not_undo_what_somebody_else_did(tenants: Tenants, model: Any, pattern: Any, about_one: bool) -> None:
    walker = Walker(tenants, model, pattern, about_one)
    if walker.form is None:
        return
    if model not in CHANGED:
        assert walker.send().status_code == 403, f"{model.__name__} is to be in CHANGED"
        return
    with platform_scope():
        model._base_manager.filter(pk=walker.row.pk).update(**CHANGED[model])
    before = everything()

    response = walker.send()

    assert everything() == before
    if response.status_code == 403:
        return
    assert response.status_code == 409
    page = text_of(response)
    assert "changed by somebody else since you opened it" in page
    assert 'class="csms-differences"' in page


@pytest.mark.parametrize(("model", "pattern", "about_one"), FORMS)
def test_form_that_is_sent_twice_acts_once(tenants: Tenants, model: Any, pattern: Any, about_one: bool) -> None:
    walker = Walker(tenants, model, pattern, about_one)
    if walker.form is None:
        return
    new_user("second")
    filled = FILLED.get(str(pattern.name), {})

    first = walker.send(**filled)

    if str(pattern.name) in NOT_FILLED or str(pattern.name).endswith("_changelist") or first.status_code == 403:
        return
    assert place_of(first), f"{pattern.name} cannot be sent like this: {errors_of(text_of(first))}"
    after = everything()

    second = walker.send(**filled)

    assert everything() == after
    assert place_of(second) == place_of(first)


# --- actions on the rows of a list ------------------------------------------------------------------------------------
ACTIONS = [
    pytest.param(model, name, id=f"{model._meta.model_name}-{name}")
    for model, model_admin in admin.site._registry.items()
    for _, name, _ in model_admin._get_base_actions()
]
# What their questions ask for beyond yes.
ANSWERED = {
    "availability_many": {"connector_id": 0, "type": "Operative"},
    "change_configuration_many": {"key": "HeartbeatInterval", "value": "60"},
}


class Asked(Walker):
    """A platform administrator who has chosen an action for one row, and sees its question."""

    def __init__(self, tenants: Tenants, model: type[models.Model], action: str) -> None:
        pattern = next(each for each, _ in addresses(model) if str(each.name).endswith("_changelist"))
        super().__init__(tenants, model, pattern, about_one=False)
        offered = f'<option value="{action}"' in text_of(self.client.get(self.address))
        if self.form is None or not offered:
            self.form = None
            return
        chosen = {"action": action, "_selected_action": [str(self.row.pk)], "index": "0"}
        response = self.send(**chosen)
        assert response.status_code == 200, f"{action} asks nothing before it acts"
        page = text_of(response)
        self.form = next((form for form in forms_of(page) if form.fields.get("action") == [action]), None)
        assert self.form is not None, f"{action} asks nothing before it acts"


@pytest.mark.parametrize(("model", "action"), ACTIONS)
def test_action_is_not_done_in_another_tenant(tenants: Tenants, model: Any, action: str) -> None:
    asked = Asked(tenants, model, action)
    if asked.form is None:
        return
    before = everything()
    asked.client.post(reverse("tenants:switch"), {"tenant": tenants.tenant_b.pk})
    response = asked.send(**ANSWERED.get(action, {}))
    assert everything() == before
    assert response.status_code == 409
    assert "was opened for Alpha, and you work for Beta now" in text_of(response)


@pytest.mark.parametrize(("model", "action"), ACTIONS)
def test_action_is_not_done_to_what_changed_meanwhile(tenants: Tenants, model: Any, action: str) -> None:
    asked = Asked(tenants, model, action)
    if asked.form is None:
        return
    with platform_scope():
        model._base_manager.filter(pk=asked.row.pk).update(**CHANGED[model])
    before = everything()
    response = asked.send(**ANSWERED.get(action, {}))
    assert everything() == before
    assert response.status_code == 409
    assert "Some of the chosen were changed since you were asked" in text_of(response)
    again = next(form for form in forms_of(text_of(response)) if form.fields.get("action") == [action])
    asked.form = again
    assert place_of(asked.send(**ANSWERED.get(action, {}))) or action == "sync_local_list_many"


@pytest.mark.parametrize(("model", "action"), ACTIONS)
def test_action_that_is_confirmed_twice_is_done_once(tenants: Tenants, model: Any, action: str) -> None:
    asked = Asked(tenants, model, action)
    if asked.form is None:
        return
    first = asked.send(**ANSWERED.get(action, {}))
    assert place_of(first), errors_of(text_of(first))
    after = everything()
    second = asked.send(**ANSWERED.get(action, {}))
    assert everything() == after
    assert place_of(second) == place_of(first)
