"""The forms behind the command buttons: exactly what the operator filled in becomes the payload.

An optional member whose field is empty is absent from the payload, never null, "" or 0. Numbers are free, for a charge
point may have connectors and transactions that we do not know; what is unwise is a warning on the command's page.
Only what breaks the OCPP schema is refused, at the field that breaks it.
"""

from __future__ import annotations

from typing import Any

from django import forms
from django.http import Http404, HttpRequest
from django.urls import reverse_lazy
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from csms.ocppj.payloads import validate_call
from stations.commands import CommandRefused
from stations.masking import is_secret_key
from stations.models import ChargePoint, ConfigurationKey, IdTag, Transaction
from tenants.admin.careful import DialogForm
from tenants.admin.scoped import confined

SUGGESTIONS = 20


class Suggesting(forms.TextInput):
    """A free input with a list of suggestions beneath it; `options` are (value, explanation) pairs."""

    options: list[tuple[Any, str]]

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        list_id = f"suggestions-{name}"
        box = super().render(name, value, {**(attrs or {}), "list": list_id, "autocomplete": "off"}, renderer)
        return format_html('{}<datalist id="{}">{}</datalist>', box, list_id, option_tags(getattr(self, "options", [])))


class SuggestingText(Suggesting, UnfoldAdminTextInputWidget):
    """Suggestions under a text."""


class SuggestingNumber(Suggesting, UnfoldAdminIntegerFieldWidget):
    """Suggestions under a number."""


def option_tags(options: list[tuple[Any, str]]) -> SafeString:
    """The children of a datalist."""
    return format_html_join("", '<option value="{}">{}</option>', options)


def id_tag_options(typed: str) -> list[tuple[str, str]]:
    """Accepted id tags that begin with what was typed; the newest for nothing."""
    rows = IdTag.objects.filter(blocked=False)
    if typed:
        rows = rows.filter(key__startswith=typed.upper()).order_by("key")
    return [(row.id_tag, row.driver or row.description) for row in rows[:SUGGESTIONS]]


def number(label: str, *, required: bool = True, help_text: str = "", **options: Any) -> forms.IntegerField:
    return forms.IntegerField(
        label=label, required=required, help_text=help_text, widget=UnfoldAdminIntegerFieldWidget(), **options
    )


def text(label: str, *, required: bool = True, help_text: str = "", widget: Any = None) -> forms.CharField:
    """Free text, not even stripped: what is typed is what is sent."""
    return forms.CharField(
        label=label, required=required, strip=False, help_text=help_text, widget=widget or UnfoldAdminTextInputWidget()
    )


def choice(label: str, *values: str, **options: Any) -> forms.ChoiceField:
    """One of the words of an enumeration, as they go on the wire."""
    return forms.ChoiceField(
        label=label, choices=[(value, value) for value in values], widget=UnfoldAdminSelectWidget(), **options
    )


class CommandForm(DialogForm):
    """One request to one charge point (`object_id`), or to many when there is none."""

    action = ""
    title = ""
    description = ""
    submit_text = "Send"
    form_before_template = "stations/admin/dialog_notes.html"
    # Member of the payload: field of the form. Only members whose field was filled in are sent.
    members: dict[str, str] = {}
    # Members that are sent even when their field is empty.
    always: tuple[str, ...] = ()

    def __init__(self, request: HttpRequest, object_id: Any = None, *args: Any, **kwargs: Any) -> None:
        super().__init__(request, object_id, *args, **kwargs)
        self.charge_point: ChargePoint | None = None
        if object_id is not None:
            self.charge_point = find_charge_point(request, object_id)
            self.suggest(self.charge_point)
            self.hold_to_suggestions()

    def suggest(self, charge_point: ChargePoint) -> None:
        """Fill in what is likely; overridden where there is something to suggest."""

    def payload(self) -> dict[str, Any]:
        """The OCPP request, from a valid form."""
        given = {member: self.cleaned_data.get(field) for member, field in self.members.items()}
        return {name: value for name, value in given.items() if name in self.always or value not in (None, "", [])}

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if not self.errors:
            for problem in validate_call(self.action, self.payload()):
                self._point_at(problem.pointer, problem.detail)
        return cleaned

    def refuse(self, refused: CommandRefused) -> None:
        """Show why the command was not taken."""
        for problem in refused.problems:
            self._point_at(problem.pointer, problem.detail)
        if not refused.problems:
            self.add_error(None, refused.detail)

    def _point_at(self, pointer: str, detail: str) -> None:
        member = pointer.strip("/").split("/")[0]
        sentence = detail if detail.endswith(".") else f"{detail}."
        self.add_error(self.members.get(member), f"{member} {sentence}".strip())

    def get_before_template_context(self, request: HttpRequest, object_id: Any = None) -> dict[str, Any]:
        return {"charge_point": self.charge_point, "form": self}


def find_charge_point(request: HttpRequest, object_id: Any) -> ChargePoint:
    """The charge point of a dialog; 404 when it is not one that the person may see."""
    rows = confined(ChargePoint.objects.select_related("tenant"), request, "site")
    charge_point = rows.filter(pk=object_id).first() if str(object_id).isdecimal() else None
    if charge_point is None:
        raise Http404("There is no such charge point.")
    return charge_point


class RemoteStartForm(CommandForm):
    action = "RemoteStartTransaction"
    title = "Remote start"
    members = {"connectorId": "connector_id", "idTag": "id_tag"}
    id_tag = text(
        "Id tag",
        widget=SuggestingText(
            attrs={
                "hx-get": reverse_lazy("admin:stations_chargepoint_id_tags"),
                "hx-trigger": "input changed delay:250ms",
                "hx-target": "#suggestions-id_tag",
                "hx-select": "unset",
                "hx-swap": "innerHTML",
            }
        ),
    )
    connector_id = number("Connector", required=False, help_text="Empty: any connector, connectorId is not sent.")

    def suggest(self, charge_point: ChargePoint) -> None:
        self.fields["id_tag"].widget.options = id_tag_options("")


class RemoteStopForm(CommandForm):
    action = "RemoteStopTransaction"
    title = "Remote stop"
    members = {"transactionId": "transaction_id"}
    transaction_id = forms.IntegerField(
        label="Transaction",
        widget=SuggestingNumber(),
        help_text="The running ones are suggested; any number can be sent.",
    )

    def suggest(self, charge_point: ChargePoint) -> None:
        running = list(Transaction.objects.open().filter(charge_point=charge_point)[:SUGGESTIONS])
        self.fields["transaction_id"].widget.options = [
            (tx.pk, f"connector {tx.connector_id}, {tx.id_tag}") for tx in running
        ]
        if len(running) == 1:
            self.fields["transaction_id"].initial = running[0].pk


class ResetForm(CommandForm):
    action = "Reset"
    title = "Reset"
    description = "Soft lets the charge point end its transactions first; Hard restarts it at once."
    members = {"type": "type"}
    type = choice("Type", "Soft", "Hard")


class UnlockForm(CommandForm):
    action = "UnlockConnector"
    title = "Unlock connector"
    members = {"connectorId": "connector_id"}
    connector_id = number("Connector")


class ChangeAvailabilityForm(CommandForm):
    action = "ChangeAvailability"
    title = "Change availability"
    members = {"connectorId": "connector_id", "type": "type"}
    connector_id = number("Connector", help_text="0 is the charge point with all its connectors.", initial=0)
    type = choice("Availability", "Operative", "Inoperative")


class GetConfigurationForm(CommandForm):
    action = "GetConfiguration"
    title = "Read configuration"
    members = {"key": "keys"}
    keys = text(
        "Keys",
        required=False,
        help_text="One a line, as the charge point spells them. Empty: every key.",
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 4}),
    )

    def clean_keys(self) -> list[str]:
        return [line.strip() for line in self.cleaned_data["keys"].splitlines() if line.strip()]


class ChangeConfigurationForm(CommandForm):
    action = "ChangeConfiguration"
    title = "Change configuration"
    members = {"key": "key", "value": "value"}
    always = ("value",)
    edited = ("value",)
    key = text("Key", widget=SuggestingText())
    value = text("Value", required=False, help_text="Sent as text, exactly as typed.")

    def suggest(self, charge_point: ChargePoint) -> None:
        rows = ConfigurationKey.objects.filter(charge_point=charge_point, known=True)
        listed = charge_point.tenant.secret_keys
        shown = {row.key: None if is_secret_key(row.key, listed) else row.value for row in rows}
        self.fields["key"].widget.options = [(key, value or "") for key, value in shown.items()]
        key = self.request.GET.get("key")
        if key:
            self.fields["key"].initial = key
            self.fields["value"].initial = shown.get(key)


class ClearCacheForm(CommandForm):
    action = "ClearCache"
    title = "Clear the authorization cache"
    description = "The charge point forgets which id tags it has seen accepted."


class DataTransferForm(CommandForm):
    action = "DataTransfer"
    title = "Data transfer"
    members = {"vendorId": "vendor_id", "messageId": "message_id", "data": "data"}
    vendor_id = text("Vendor id")
    message_id = text("Message id", required=False, help_text="Empty: left out.")
    data = text(
        "Data", required=False, help_text="Empty: left out.", widget=UnfoldAdminTextareaWidget(attrs={"rows": 4})
    )

    def clean_data(self) -> str:
        # Browsers send every line break of a text area as CR LF.
        return str(self.cleaned_data["data"]).replace("\r\n", "\n")


class TriggerMessageForm(CommandForm):
    action = "TriggerMessage"
    title = "Trigger a message"
    description = "The charge point answers first, then sends the message; both stand on the command's page."
    members = {"requestedMessage": "requested_message", "connectorId": "connector_id"}
    requested_message = choice(
        "Message",
        "StatusNotification",
        "MeterValues",
        "Heartbeat",
        "BootNotification",
        "DiagnosticsStatusNotification",
        "FirmwareStatusNotification",
    )
    connector_id = number(
        "Connector",
        required=False,
        help_text="For StatusNotification and MeterValues. Empty: left out, the message comes for every connector.",
    )
