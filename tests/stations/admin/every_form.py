"""Every form of the admin, found as a browser finds them: by opening each address of the URL configuration.

A form is what a page has to post, with the values that its fields have when the page is opened.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

from django.apps import apps
from django.contrib import admin
from django.db import models
from django.test import Client
from django.urls import URLPattern

from tenants.models import AuditEntry, IdempotencyRecord
from tenants.scope import platform_scope
from tests.stations.admin.people import text_of, url

# Of the person or of the installation, not of a tenant: signing in and out.
NO_FORMS_OF_ROWS = {"autocomplete", "jsi18n", "login", "logout"}


@dataclass
class Form:
    """A form with method post: what a browser would send, as lists of values."""

    fields: dict[str, list[str]] = field(default_factory=dict)
    # Names of the fields that people type into.
    typed: set[str] = field(default_factory=set)

    def with_values(self, **values: Any) -> dict[str, Any]:
        return self.fields | values


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self._form: Form | None = None
        self._select = self._area = ""
        self._chosen: list[str] = []
        self._options: list[str] = []
        self._multiple = False

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        given = dict(attrs)
        name = given.get("name") or ""
        if tag == "form":
            elsewhere = (given.get("action") or "").startswith("/")
            self._form = Form() if given.get("method", "").lower() == "post" and not elsewhere else None
            if self._form is not None:
                self.forms.append(self._form)
        form = self._form
        if form is None:
            return
        if tag == "input" and name:
            kind = given.get("type", "text")
            if kind in ("checkbox", "radio"):
                if "checked" in given:
                    form.fields.setdefault(name, []).append(given.get("value") or "on")
            elif kind not in ("submit", "button", "file"):
                form.fields.setdefault(name, []).append(given.get("value") or "")
                if kind != "hidden":
                    form.typed.add(name)
        elif tag == "textarea" and name:
            self._area = name
            form.fields.setdefault(name, []).append("")
            form.typed.add(name)
        elif tag == "select" and name:
            self._select, self._chosen, self._options, self._multiple = name, [], [], "multiple" in given
        elif tag == "option" and self._select:
            self._options.append(given.get("value") or "")
            if "selected" in given:
                self._chosen.append(given.get("value") or "")

    def handle_data(self, data: str) -> None:
        if self._form is not None and self._area:
            self._form.fields[self._area][-1] += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._form = None
        elif tag == "textarea":
            if self._form is not None and self._area:
                # HTML drops the line break after the tag.
                self._form.fields[self._area][-1] = self._form.fields[self._area][-1].removeprefix("\n").lstrip("\r\n")
            self._area = ""
        elif tag == "select" and self._select:
            if self._form is not None:
                chosen = self._chosen or ([] if self._multiple else self._options[:1])
                self._form.fields[self._select] = chosen
            self._select = ""


def forms_of(page: str) -> list[Form]:
    """The forms on a page that are posted to the address of the page itself."""
    parser = _Forms()
    parser.feed(page)
    return parser.forms


def addresses(model: type[models.Model]) -> Iterator[tuple[URLPattern, bool]]:
    """The named addresses of a model's admin, and whether each is about one row."""
    for pattern in admin.site.get_model_admin(model).get_urls():
        name = str(pattern.name or "")
        converters = set(pattern.pattern.converters)
        if name and converters <= {"object_id", "id"} and name not in NO_FORMS_OF_ROWS:
            yield pattern, bool(converters)


def address_of(pattern: URLPattern, row: models.Model | None) -> str:
    return url(str(pattern.name), *([row.pk] if row is not None else []))


def is_dialog(pattern: URLPattern) -> bool:
    return getattr(pattern.callback, "dialog", None) is not None


def form_at(client: Client, address: str, pattern: URLPattern | None = None) -> Form | None:
    """The form of the page at `address`; None for a page without one."""
    headers = {"HX-Request": "true"} if pattern is not None and is_dialog(pattern) else {}
    response = client.get(address, headers=headers)
    if response.status_code != 200 or not response["Content-Type"].startswith("text/html"):
        return None
    found = forms_of(text_of(response))
    return found[0] if found else None


def everything() -> dict[str, list[Any]]:
    """All rows of all tenants, without those that say that a form was sent."""
    tables = [
        model
        for app in ("tenants", "stations", "billing", "auth")
        for model in apps.get_app_config(app).get_models()
        if model not in (IdempotencyRecord, AuditEntry) and model._meta.managed
    ]
    with platform_scope():
        found = {model._meta.label: sorted(map(repr, model._base_manager.values_list())) for model in tables}
        found["audit"] = [AuditEntry._base_manager.count()]
    return {label: rows for label, rows in found.items() if rows}
