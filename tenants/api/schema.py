"""The OpenAPI 3.1 document: named shapes, pagination parameters, problem answers and the API key of every operation."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter

from tenants.api.pagination import DEFAULT_SIZE, MAX_SIZE

# Shapes by name; add_problem() puts them into the document.
_components: dict[str, dict[str, Any]] = {}


def obj(*, optional: tuple[str, ...] = (), **properties: dict[str, Any]) -> dict[str, Any]:
    """The schema of an object with these members, all of them required but the optional ones."""
    return {
        "type": "object",
        "required": [name for name in properties if name not in optional],
        "properties": properties,
    }


def component(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """A reference to `schema` under its `name`, which is also the name of the type in generated clients."""
    _components[name] = schema
    return {"$ref": f"#/components/schemas/{name}"}


def page_of(item: dict[str, Any]) -> dict[str, Any]:
    """A page of a list whose `results` are components `item`."""
    link = {"type": ["string", "null"], "format": "uri"}
    return component(
        f"{item['$ref'].rpartition('/')[2]}Page",
        obj(
            optional=("count",),
            results={"type": "array", "items": item},
            next=link,
            previous=link,
            count={"type": "integer", "description": "Only with `?count=true`."},
        ),
    )


PROBLEM = component(
    "Problem",
    obj(
        optional=("errors",),
        type={"type": "string", "format": "uri-reference"},
        title={"type": "string"},
        status={"type": "integer"},
        detail={"type": "string"},
        code={"type": "string", "description": "Stable, for programs.", "pattern": "^[a-z0-9_]+$"},
        errors={
            "type": "array",
            "items": obj(
                pointer={
                    "type": "string",
                    "description": "JSON pointer into the body, or `/name` of a query parameter.",
                },
                detail={"type": "string"},
                code={"type": "string"},
            ),
        },
    ),
)
# Status: name of the shared answer, and what it means.
ANSWERS = {
    "400": ("BadRequest", "The request is not valid; `errors` says where."),
    "401": ("Unauthorized", "No API key, or one that is unknown, expired or revoked."),
    "403": ("Forbidden", "The caller lacks the scope, or the tenant is suspended."),
    "404": ("NotFound", "There is no such object, or none that the caller may see."),
    "406": ("NotAcceptable", "The answer is JSON, which the Accept header excludes."),
    "409": (
        "Conflict",
        "The state of the object does not allow it, or the first request with the Idempotency-Key still runs.",
    ),
    "412": ("PreconditionFailed", "The object has changed since it was read."),
    "413": ("TooLarge", "The body is too large."),
    "415": ("UnsupportedMediaType", "The body is not application/json."),
    "422": ("KeyReused", "The Idempotency-Key was used for another request."),
    "429": ("TooManyRequests", "Too many requests in this minute."),
    "503": ("Unavailable", "The database cannot be reached."),
}
ALWAYS = ("400", "401", "403", "406", "429", "503")
WITH_BODY = ("413", "415")
BY_METHOD = {"POST": (*WITH_BODY, "409", "422"), "PUT": (*WITH_BODY, "409"), "PATCH": WITH_BODY, "DELETE": ("409",)}
RETRY_AFTER = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}
HEADERS = {
    "401": {"WWW-Authenticate": {"schema": {"type": "string"}}},
    "409": RETRY_AFTER,
    "429": RETRY_AFTER,
    "503": RETRY_AFTER,
}
RATE_LIMIT = {
    "RateLimit-Limit": {"schema": {"type": "integer"}, "description": "Requests a minute."},
    "RateLimit-Remaining": {"schema": {"type": "integer"}, "description": "What is left of them."},
    "RateLimit-Reset": {"schema": {"type": "integer"}, "description": "Seconds until the next minute."},
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
        if self._takes_if_match():
            parameters.append(
                OpenApiParameter(
                    "If-Match",
                    {"type": "string", "pattern": '^(\\*|"[!#-~]+")$'},
                    OpenApiParameter.HEADER,
                    description="The ETag of the state that the change starts from.",
                )
            )
        return parameters

    def _takes_if_match(self) -> bool:
        return self.method in ("PUT", "PATCH", "DELETE") and self._is_tagged_object()

    def _is_tagged_object(self) -> bool:
        """Whether the path is that of one object with an ETag; the list that it stands in has none."""
        return "{" in self.path and getattr(self.view, "tagged_object", False)

    def get_operation(self, *args: Any, **kwargs: Any) -> Any:
        operation = super().get_operation(*args, **kwargs)
        if operation is None:
            return None
        responses = operation["responses"]
        for status, response in responses.items():
            shared = {name: {"$ref": f"#/components/headers/{name}"} for name in RATE_LIMIT}
            response["headers"] = self._headers(status) | response.get("headers", {}) | shared
        statuses = {*ALWAYS, *BY_METHOD.get(self.method, ())}
        if "{" in self.path:
            statuses.add("404")
        if self._takes_if_match():
            statuses.add("412")
        for status in statuses:
            responses.setdefault(status, {"$ref": f"#/components/responses/{ANSWERS[status][0]}"})
        operation["responses"] = dict(sorted(responses.items()))
        return operation

    def _headers(self, status: str) -> dict[str, Any]:
        headers: dict[str, Any] = {}
        if status in ("201", "202"):
            headers["Location"] = {"schema": {"type": "string", "format": "uri"}}
        made = self.method == "POST" and getattr(self.view, "tagged_object", False)
        if status in ("200", "201") and (made or self._is_tagged_object()):
            headers["ETag"] = {"schema": {"type": "string"}}
        if self.method == "POST":
            headers["Idempotency-Replayed"] = {
                "schema": {"type": "string", "const": "true"},
                "description": "The answer is that of the first request with this Idempotency-Key.",
            }
        return headers


def add_problem(result: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
    """Post-processing hook: the named shapes, and the answers and headers that all operations share."""
    components = result.setdefault("components", {})
    components["schemas"] = dict(sorted((components.get("schemas", {}) | _components).items()))
    components["headers"] = RATE_LIMIT
    components["responses"] = {
        name: {
            "description": description,
            "content": {"application/problem+json": {"schema": PROBLEM}},
            **({"headers": HEADERS[status]} if status in HEADERS else {}),
        }
        for status, (name, description) in ANSWERS.items()
    }
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
