"""PUT of a list: many objects registered or replaced by one request, each on its own.

Context: a fleet or a box of cards is registered from somebody else's database, a thousand at once. Choice: each row is
judged and written by itself, in a savepoint, and the answer has a result for each, in the order given: one misspelt
row must not keep 999 others out. Consequence: the request is 200 even when rows were refused, `refused` counts them,
and it may be sent again as it is, since PUT of what is there already changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from django.db import OperationalError, transaction
from rest_framework.response import Response

from tenants.api.problems import bad_request, problem_of
from tenants.api.schema import component, obj
from tenants.api.views import TenantAPIView

MAX_ROWS = 1000

Written = tuple[dict[str, Any], bool]


def put_many(view: TenantAPIView, member: str, fold: Callable[[str], str], put: Callable[..., Written]) -> Response:
    """Call `put(key, data)` for each object of the body, which has its key in `member`; the results as an answer.

    `put` gives the resource and whether it was created, or raises what a view may raise: then that row has taken
    nothing with it and its result is the problem. `fold` makes keys comparable. The view names PUT in `list_methods`.
    Errors: 400 for a list that is empty or longer than MAX_ROWS.
    """
    rows = view.request.data
    if not 1 <= len(rows) <= MAX_ROWS:
        raise bad_request("", f"The list must have 1 to {MAX_ROWS} objects, not {len(rows)}.", "wrong_length")
    keys = [row.get(member) if isinstance(row, dict) else None for row in rows]
    given = Counter(fold(key) for key in keys if isinstance(key, str))
    results: list[dict[str, Any]] = [{} for _ in rows]
    # Two requests that lock the same rows take them in the same order.
    for index in sorted(range(len(rows)), key=lambda index: str(keys[index])):
        key = keys[index]
        results[index] = {"index": index, member: key if isinstance(key, str) else None}
        try:
            if not isinstance(rows[index], dict):
                raise bad_request("", "This must be an object.", "not_an_object")
            if not isinstance(key, str) or not key:
                raise bad_request(f"/{member}", "This member is required, as a text.", "required")
            if given[fold(key)] > 1:
                raise bad_request(f"/{member}", "It stands in the list more than once.", "repeated")
            with transaction.atomic():
                resource, created = put(key, rows[index])
            results[index] |= {"status": 201 if created else 200, "resource": resource, "problem": None}
        except OperationalError:
            raise
        except Exception as error:
            problem = problem_of(error)
            if problem is None or problem.status_code >= 500:
                raise
            results[index] |= {"status": problem.status_code, "resource": None, "problem": problem.body}
    statuses = Counter(result["status"] for result in results)
    return Response(
        {
            "created": statuses[201],
            "replaced": statuses[200],
            "refused": len(rows) - statuses[201] - statuses[200],
            "results": results,
        }
    )


def results_of(item: dict[str, Any], member: str, problem: dict[str, Any]) -> dict[str, Any]:
    """The shape of the answer, for the OpenAPI document; `item` is the component of the resource."""
    result = {
        "index": {"type": "integer", "description": "Its place in the list that was sent, from 0."},
        member: {"type": ["string", "null"]},
        "status": {"type": "integer", "description": "What a PUT of it alone would have been answered with."},
        "resource": {"oneOf": [item, {"type": "null"}]},
        "problem": {"oneOf": [problem, {"type": "null"}]},
    }
    return component(
        f"{item['$ref'].rpartition('/')[2]}Results",
        obj(
            created={"type": "integer"},
            replaced={"type": "integer"},
            refused={"type": "integer"},
            results={"type": "array", "items": {"type": "object", "required": list(result), "properties": result}},
        ),
    )


def list_of(serializer: type[Any]) -> Any:
    """The shape of the body, for the OpenAPI document."""
    return serializer(many=True, max_length=MAX_ROWS, min_length=1)
