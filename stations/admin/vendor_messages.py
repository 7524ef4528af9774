"""Vendors' own messages: which vendors are taken, and what came of them."""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from unfold.decorators import display

from stations.admin.filters import ChosenChargePoint, charge_points_called
from stations.admin.id_tags import WordsField
from stations.display import charge_point_link
from stations.models import ChargePoint, VendorExtension, VendorMessage
from tenants.admin.scoped import LogAdmin, TenantModelAdmin
from tenants.display import DASH, badge, moment, pretty_json

SHOWN = 20
DATA_SHOWN = 200
VARIANTS = {"Accepted": "success", "Rejected": "danger", "UnknownMessageId": "warning"}


class VendorExtensionForm(forms.ModelForm):
    message_ids = WordsField(
        required=False,
        help_text="The only messageIds that are known, with commas between them; others are answered "
        "UnknownMessageId. Empty means all.",
    )

    class Meta:
        model = VendorExtension
        fields = ("vendor_id", "description", "enabled", "message_ids")

    def clean_vendor_id(self) -> str:
        vendor_id = str(self.cleaned_data["vendor_id"])
        if VendorExtension.objects.filter(key=vendor_id.upper()).exclude(pk=self.instance.pk).exists():
            raise ValidationError("There is an entry of this vendorId; capital and small letters are the same.")
        return vendor_id


@admin.register(VendorExtension)
class VendorExtensionAdmin(TenantModelAdmin):
    """Which vendors' DataTransfers are answered Accepted and kept; of all others the vendor is unknown."""

    form = VendorExtensionForm
    list_display = ("vendor_id", "state", "known", "description", "messages_link")
    search_fields = ("vendor_id", "description")
    search_help_text = "vendorId, description"

    @display(description="State", ordering="enabled")
    def state(self, row: VendorExtension) -> SafeString:
        return badge("on", "success") if row.enabled else badge("off", "plain", "Answered UnknownVendorId")

    @display(description="Known messageIds")
    def known(self, row: VendorExtension) -> str:
        return ", ".join(map(str, row.message_ids)) or "all"

    @display(description="Messages")
    def messages_link(self, row: VendorExtension) -> SafeString:
        url = f"{reverse('admin:stations_vendormessage_changelist')}?{urlencode({'q': row.vendor_id})}"
        return format_html('<a class="csms-link" href="{}">Messages</a>', url)


@admin.register(VendorMessage)
class VendorMessageAdmin(LogAdmin):
    site_path = "charge_point__site"
    list_display = ("received", "station", "vendor_id", "message_id", "answer", "data_start")
    list_display_links = ("received",)
    list_select_related = ("charge_point",)
    list_filter = (ChosenChargePoint,)
    search_fields = ("vendor_id",)
    search_help_text = "vendorId, messageId, data, identity of the charge point"
    fields = ("received", "station", "vendor_id", "message_id", "data_shown", "answer", "response_shown")
    readonly_fields = fields

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> tuple[Any, bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        found = Q(vendor_id__icontains=term) | Q(message_id__icontains=term) | Q(data__icontains=term)
        return queryset.filter(found | Q(charge_point__in=charge_points_called(term))), False

    @display(description="Received")
    def received(self, row: VendorMessage) -> Any:
        return moment(row.received_at)

    @display(description="Charge point")
    def station(self, row: VendorMessage) -> Any:
        return charge_point_link(row.charge_point)

    @display(description="Our answer")
    def answer(self, row: VendorMessage) -> SafeString:
        return answer_badge(row)

    @display(description="Data")
    def data_start(self, row: VendorMessage) -> SafeString | str:
        return data_start(row)

    @display(description="Data")
    def data_shown(self, row: VendorMessage) -> SafeString | str:
        return DASH if row.data is None else pretty_json(_as_json(row.data))

    @display(description="Data of our answer")
    def response_shown(self, row: VendorMessage) -> SafeString | str:
        return DASH if row.response is None else pretty_json(_as_json(row.response))


def _as_json(text: str) -> Any:
    """What the text is as JSON, to be indented; else the text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def answer_badge(row: VendorMessage) -> SafeString:
    return badge(row.status, VARIANTS.get(row.status, "plain"))


def data_start(row: VendorMessage) -> SafeString | str:
    """The beginning of the data, on one line."""
    if row.data is None:
        return DASH
    cut = row.data if len(row.data) <= DATA_SHOWN else f"{row.data[:DATA_SHOWN]}…"
    return format_html('<code class="csms-inline-code csms-one-line">{}</code>', cut)


def vendor_messages_of(charge_point: ChargePoint) -> list[dict[str, Any]]:
    """The newest vendors' messages of a charge point, as its page shows them."""
    newest = VendorMessage.objects.filter(charge_point=charge_point).order_by("-id")[:SHOWN]
    return [{"row": row, "answer": answer_badge(row), "data": data_start(row)} for row in newest]
