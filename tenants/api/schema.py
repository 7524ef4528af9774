"""The OpenAPI 3.1 document: pagination parameters, problem answers and the API key, added to every operation."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter

from tenants.api.pagination import DEFAULT_SIZE, MAX_SIZE


def obj(*, optional: tuple[str, ...] = (), **properties: dict[str, Any]) -> dict[str, Any]:
    """The schema of an object with these members, all of them required but the optional ones."""
    return {
        "type": "object",
        "required": [name for name in properties if name not in optional],
        "properties": properties,
    }


PROBLEM = obj(
    optional=("errors",),
    type={"type": "string"},
    title={"type": "string"},
    status={"type": "integer"},
    detail={"type": "string"},
    code={"type": "string", "description": "Stable, for programs."},
    errors={
        "type": "array",
        "items": obj(
            pointer={"type": "string", "description": "JSON pointer into the request."},
            detail={"type": "string"},
            code={"type": "string"},
        ),
    },
)
ANSWERS = {
    "400": "The request is not valid.",
    "401": "No API key, or not a valid one.",
    "403": "The caller may not do this.",
    "404": "There is no such object.",
    "409": "The state of the object does not allow it.",
    "412": "The object has changed since it was read.",
    "415": "The body is not JSON.",
    "422": "The Idempotency-Key was used for another request.",
    "429": "Too many requests; see Retry-After.",
}
ALWAYS = ("400", "401", "403", "404", "429")
BY_METHOD = {
    "POST": ("409", "415", "422"),
    "PUT": ("409", "412", "415"),
    "PATCH": ("409", "412", "415"),
    "DELETE": ("409", "412"),
}


class ProblemAutoSchema(AutoSchema):
    """drf-spectacular's AutoSchema with what all our operations share."""

    def get_override_parameters(self) -> list[Any]:
        parameters: list[Any] = []
        if self.method == "GET" and getattr(self.view, "paginated", False):
            default = getattr(self.view, "default_page_size", DEFAULT_SIZE)
            size = {"type": "integer", "minimum": 1, "maximum": MAX_SIZE, "default": default}
            parameters += [
                OpenApiParameter("cursor", str, description="Where the page begins; from `next` or `previous`."),
                OpenApiParameter("page_size", size, description="Rows on a page."),
                OpenApiParameter("count", bool, description="Also count all rows, which takes time."),
            ]
        if self.method == "POST":
            parameters.append(
                OpenApiParameter(
                    "Idempotency-Key",
                    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
                    OpenApiParameter.HEADER,
                    description="Repeating the request with the same key gives the first answer, for 24 hours.",
                )
            )
        return parameters

    def get_operation(self, *args: Any, **kwargs: Any) -> Any:
        operation = super().get_operation(*args, **kwargs)
        if operation is None:
            return None
        for status in (*ALWAYS, *BY_METHOD.get(self.method, ())):
            operation["responses"].setdefault(
                status,
                {
                    "description": ANSWERS[status],
                    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
                },
            )
        operation["responses"] = dict(sorted(operation["responses"].items()))
        return operation


def add_problem(result: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
    """Post-processing hook: the shared component."""
    result.setdefault("components", {}).setdefault("schemas", {})["Problem"] = PROBLEM
    return result


class ApiKeyScheme(OpenApiAuthenticationExtension):
    target_class = "tenants.api.authentication.ApiKeyAuthentication"
    name = "ApiKey"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {
            "type": "apiKey",
            "in": "header",
            "name": "Authorization",
            "description": "`Authorization: Api-Key <prefix>.<secret>`",
        }


class SessionScheme(OpenApiAuthenticationExtension):
    target_class = "tenants.api.authentication.MembershipSessionAuthentication"
    name = "Session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {
            "type": "apiKey",
            "in": "cookie",
            "name": "sessionid",
            "description": "A signed-in member; writing needs the CSRF token.",
        }
