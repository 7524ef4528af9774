"""TenantAPIView: what every endpoint shares. The tenant's scope is open from authentication to the answer."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from typing import Any

import orjson
from django.http import HttpResponseBase
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from csms.proxies import peer
from tenants.api.idempotency import run_once
from tenants.api.pagination import PARAMETERS
from tenants.api.permissions import caller_name
from tenants.api.problems import Problem, bad_request
from tenants.api.rendering import JsonRenderer
from tenants.models import ApiKey, AuditEntry
from tenants.permissions import allowed_site_ids
from tenants.scope import CrossTenantScope, tenant_scope


class StrictSerializer(serializers.Serializer[Any]):
    """A serializer that refuses members it does not know: a misspelt one must not be lost in silence."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict):
            known = {name for name, field in self.fields.items() if not field.read_only}
            unknown = {
                name: [serializers.ErrorDetail("This member is not known.", code="unknown_member")]
                for name in data
                if name not in known
            }
            if unknown:
                raise serializers.ValidationError(unknown)
        return super().to_internal_value(data)


class TenantAPIView(APIView):
    """Base of all views. `query_parameters` names what a GET understands beside pagination; others are 400.

    A POST runs once per Idempotency-Key, in one transaction; `after_commit` may still change its answer, such as by
    waiting for a charge point.
    """

    query_parameters: frozenset[str] = frozenset()
    paginated = False

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> HttpResponseBase:
        self.args, self.kwargs = args, kwargs
        self.request = self.initialize_request(request, *args, **kwargs)
        self.headers = self.default_response_headers
        with ExitStack() as scopes:
            self._scopes = scopes
            try:
                self.initial(self.request, *args, **kwargs)
                self._check_query()
                response = self._run()
            except Exception as error:
                response = self.handle_exception(error)
            self.response = self.finalize_response(self.request, response, *args, **kwargs)
        return self.response

    def _run(self) -> Any:
        method = (self.request.method or "").lower()
        handler = getattr(self, method, None) if method in self.http_method_names else None
        if handler is None:
            return self.http_method_not_allowed(self.request)

        def work() -> Any:
            try:
                return handler(self.request, *self.args, **self.kwargs)
            except Exception as error:
                return self.handle_exception(error)

        if method == "post":
            response = run_once(self.request, work)
            # A stored answer, or an error, is final.
            return (
                self.after_commit(response)
                if isinstance(response, Response) and response.status_code < 400
                else response
            )
        return handler(self.request, *self.args, **self.kwargs)

    def after_commit(self, response: Response) -> Response:
        """What a POST does once its work is committed."""
        return response

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

    def _check_query(self) -> None:
        allowed = self.query_parameters | (
            PARAMETERS if self.paginated and self.request.method == "GET" else frozenset()
        )
        for name, values in self.request.query_params.lists():
            if name not in allowed:
                raise bad_request(f"/{name}", "This query parameter is not known.", "unknown_parameter")
            if len(values) > 1:
                raise bad_request(f"/{name}", "This query parameter is given more than once.", "repeated")
            if "\x00" in values[0]:
                raise bad_request(f"/{name}", "A text must not contain U+0000.", "null_character")

    # --- for the views -----------------------------------------------------------------------------------------------
    def site_ids(self) -> frozenset[int] | None:
        """The sites the caller is limited to; None means all."""
        return None if self.request.auth is None else allowed_site_ids(self.request.auth)

    def validated(self, serializer_class: type[StrictSerializer], *, partial: bool = False) -> dict[str, Any]:
        """The request's body, checked; raises 400 with pointers."""
        serializer = serializer_class(data=self.request.data, partial=partial, context={"view": self})
        serializer.is_valid(raise_exception=True)
        return dict(serializer.validated_data)

    def page(self, queryset: Any, serialize: Any) -> Response:
        """One page of `queryset`; `serialize(row)` gives a dict."""
        paginator = self.settings.DEFAULT_PAGINATION_CLASS()
        rows = paginator.paginate_queryset(queryset, self.request, view=self)
        return Response(paginator.get_paginated_response([serialize(row) for row in rows]).data)

    def audit(self, action: str, obj: Any, changes: dict[str, Any] | None = None) -> None:
        """Note a change in the tenant's audit log; no secrets in `changes`."""
        raw = self.request._request
        headers = {name.lower().encode(): value.encode("latin-1", "replace") for name, value in raw.headers.items()}
        scope = getattr(raw, "scope", None) or {"client": (raw.META.get("REMOTE_ADDR", ""),), "scheme": raw.scheme}
        AuditEntry.objects.record(
            caller_name(self.request), action, obj, changes=changes, user=self.request.user or None,
            address=peer(scope, headers).address or None,
        )  # fmt: skip

    def tagged(self, data: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None) -> Response:
        """An answer with its ETag."""
        return Response(data, status=status, headers={"ETag": etag(data), **(headers or {})})

    def check_match(self, current: dict[str, Any] | None) -> None:
        """Raise 412 when If-Match names another state of the object than `current` (None: there is no object)."""
        wanted = self.request.headers.get("If-Match")
        if wanted is None:
            return
        tags = {tag.strip() for tag in wanted.split(",")}
        if current is None or (etag(current) not in tags and "*" not in tags):
            raise Problem(412, "changed_meanwhile", "The object has changed since it was read.")


VOLATILE = ("connected", "last_seen_at", "connected_at", "connectors", "password", "password_form", "deviations")


def etag(data: dict[str, Any]) -> str:
    """Strong tag over what people edit: live state does not change it."""
    stable = {name: value for name, value in data.items() if name not in VOLATILE}
    return f'"{hashlib.sha256(JsonRenderer().render(orjson.loads(JsonRenderer().render(stable)))).hexdigest()[:32]}"'
