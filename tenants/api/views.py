"""TenantAPIView: what every endpoint shares. The tenant's scope is open from authentication to the answer.

A change and its audit entry are one transaction. A POST runs once per Idempotency-Key (idempotency.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

from django.db import transaction
from django.http import HttpResponseBase, UnreadablePostError
from rest_framework import serializers
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from tenants.api.idempotency import FollowUp, run_once
from tenants.api.pagination import PARAMETERS
from tenants.api.permissions import caller_name
from tenants.api.problems import Problem, bad_request
from tenants.api.rendering import AcceptHeaderNegotiation, JsonRenderer
from tenants.api.requests import absolute, address_of
from tenants.models import ApiKey, AuditEntry
from tenants.permissions import allowed_site_ids
from tenants.scope import CrossTenantScope, tenant_scope


class StrictSerializer(serializers.Serializer[Any]):
    """A serializer that refuses members it does not know: a misspelt one must not be lost in silence.

    `shown_only` are members of the answer that cannot be written; they are ignored, so that what was read can be sent
    back with a change.
    """

    shown_only: frozenset[str] = frozenset()

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, dict):
            raise serializers.ValidationError("This must be an object.", code="not_an_object")
        known = {name for name, field in self.fields.items() if not field.read_only} | self.shown_only
        errors: dict[Any, Any] = {
            name: [serializers.ErrorDetail("This member is not known.", code="unknown_member")]
            for name in data
            if name not in known
        }
        values = {}
        try:
            values = super().to_internal_value(data)
        except serializers.ValidationError as error:
            errors |= error.detail
        if errors:
            raise serializers.ValidationError(errors)
        return values


class TenantAPIView(APIView):
    """Base of all views.

    `query_parameters` names what a GET understands beside pagination, `post_parameters` what a POST does and
    `delete_parameters` what a DELETE does; others are 400. Scopes: `read_scope`, `write_scope` (permissions.py).
    """

    query_parameters: frozenset[str] = frozenset()
    post_parameters: frozenset[str] = frozenset()
    delete_parameters: frozenset[str] = frozenset()
    # Methods whose body is a list of objects (many.py).
    list_methods: frozenset[str] = frozenset()
    paginated = False
    # Whether If-Match is understood.
    tagged_object = False
    content_negotiation_class = AcceptHeaderNegotiation
    metadata_class = None

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> HttpResponseBase:
        self.args, self.kwargs = args, kwargs
        self.request = self.initialize_request(request, *args, **kwargs)
        self.headers = self.default_response_headers
        with ExitStack() as scopes:
            self._scopes = scopes
            try:
                self._read_body(request)
                self.initial(self.request, *args, **kwargs)
                self._check_path_and_query()
                response = self._run()
            except Exception as error:
                response = self.handle_exception(error)
            self.response = self.finalize_response(self.request, response, *args, **kwargs)
        return self.response

    def _read_body(self, request: Any) -> None:
        """Read the body at once, within the limit; DRF takes a body without Content-Length (chunked) for none."""
        if request.method in SAFE_METHODS:
            return
        try:
            request.META["CONTENT_LENGTH"] = str(len(request.body))
        except UnreadablePostError:
            raise Problem(400, "body_unreadable", "The body ended early.") from None

    def _handler(self) -> Callable[..., Any] | None:
        """What the request's method calls; None for a method that the path does not have."""
        method = (self.request.method or "").lower()
        return getattr(self, method, None) if method in self.http_method_names else None

    def _run(self) -> Any:
        handler = self._handler()
        if handler is None:
            return self.http_method_not_allowed(self.request)

        def work() -> Any:
            try:
                return handler(self.request, *self.args, **self.kwargs)
            except Exception as error:
                return self.handle_exception(error)

        if self.request.method == "POST":
            return run_once(self.request, work, self.after_commit())
        if self.request.method in SAFE_METHODS:
            return handler(self.request, *self.args, **self.kwargs)
        with transaction.atomic():
            return handler(self.request, *self.args, **self.kwargs)

    def after_commit(self) -> FollowUp | None:
        """What a POST does with its answer once its work is committed, such as waiting for a charge point."""
        return None

    def perform_authentication(self, request: Request) -> None:
        super().perform_authentication(request)
        if isinstance(request.auth, ApiKey):
            try:
                self._scopes.enter_context(tenant_scope(request.auth.tenant_id))
            except CrossTenantScope:
                raise Problem(
                    400, "two_identities", "The API key and the signed-in session belong to different tenants."
                ) from None

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        rate_limit = getattr(getattr(request, "_request", request), "rate_limit", None)
        if rate_limit is not None:
            for name, value in zip(("Limit", "Remaining", "Reset"), rate_limit, strict=True):
                response[f"RateLimit-{name}"] = str(value)
        return response

    def _check_path_and_query(self) -> None:
        if self._handler() is None:
            return  # 405, whatever else is wrong.
        if any("\x00" in value for value in self.kwargs.values() if isinstance(value, str)):
            if self.request.method == "PUT":
                raise bad_request("", "No name contains U+0000.", "null_character")
            raise Problem(404, "not_found", "No name contains U+0000.")
        allowed: frozenset[str] = frozenset()
        if self.request.method in SAFE_METHODS:
            allowed = self.query_parameters | (PARAMETERS if self.paginated else frozenset())
        elif self.request.method == "POST":
            allowed = self.post_parameters
        elif self.request.method == "DELETE":
            allowed = self.delete_parameters
        for name, values in self.request.query_params.lists():
            if name not in allowed:
                raise bad_request(f"/{name}", "This query parameter is not known.", "unknown_parameter")
            if len(values) > 1:
                raise bad_request(f"/{name}", "This query parameter is given more than once.", "repeated")
            if "\x00" in values[0]:
                raise bad_request(f"/{name}", "A text must not contain U+0000.", "null_character")

    # --- for the views ------------------------------------------------------------------------------------------------
    def site_ids(self) -> frozenset[int] | None:
        """The sites the caller is limited to; None means all. One query a request."""
        if not hasattr(self, "_site_ids"):
            self._site_ids = None if self.request.auth is None else allowed_site_ids(self.request.auth)
        return self._site_ids

    def validated(
        self, serializer_class: type[StrictSerializer], data: Any = None, *, partial: bool = False
    ) -> dict[str, Any]:
        """The request's body, or `data` of it, checked; raises 400 with pointers."""
        data = self.request.data if data is None else data
        serializer = serializer_class(data=data, partial=partial, context={"view": self})
        serializer.is_valid(raise_exception=True)
        return dict(serializer.validated_data)

    def page(self, queryset: Any, serialize: Callable[[Any], dict[str, Any]]) -> Response:
        """One page of `queryset`; `serialize(row)` gives a dict."""
        paginator = self.settings.DEFAULT_PAGINATION_CLASS()
        rows = paginator.paginate_queryset(queryset, self.request, view=self)
        return Response(paginator.get_paginated_response([serialize(row) for row in rows]).data)

    def page_of(self, queryset: Any, serialize: Callable[[list[Any]], list[dict[str, Any]]]) -> Response:
        """As `page`, for rows that are serialized together."""
        paginator = self.settings.DEFAULT_PAGINATION_CLASS()
        rows = paginator.paginate_queryset(queryset, self.request, view=self)
        return Response(paginator.get_paginated_response(serialize(rows)).data)

    def created(self, data: dict[str, Any], path: str, *, status: int = 201, **headers: str) -> Response:
        """The answer to a POST that made something, which is found at `path` from now on."""
        return Response(data, status=status, headers={"Location": absolute(self.request._request, path), **headers})

    def audit(self, action: str, obj: Any, changes: dict[str, Any] | None = None) -> None:
        """Note a change in the tenant's audit log; no secrets in `changes`."""
        AuditEntry.objects.record(
            caller_name(self.request),
            action,
            obj,
            changes=changes,
            user=self.request.user or None,
            address=address_of(self.request._request),
        )

    def check_match(self, tag: str | None) -> None:
        """Raise 412 unless If-Match names `tag`, the present state (None: there is no object), or is absent.

        If-None-Match: * asks for the opposite, that there be no object yet.
        """
        wanted = self.request.headers.get("If-Match")
        if wanted is not None:
            tags = {given.strip() for given in wanted.split(",")}
            if tag is None or not tags & {tag, "*"}:
                raise Problem(412, "changed_meanwhile", "The object has changed since it was read.")
        if self.request.headers.get("If-None-Match", "").strip() == "*" and tag is not None:
            raise Problem(412, "exists_already", "The object exists already.")


def entity_tag(facts: Mapping[str, Any]) -> str:
    """A strong ETag over `facts`, what people edit of one object; live state does not change it."""
    return f'"{hashlib.sha256(JsonRenderer().render(dict(facts))).hexdigest()[:32]}"'
