"""The rows that an action of a list is about, as one field of a form instead of one for each row.

Context: an action asks first; what was chosen, up to every row of the list, has to come back with the answer. One field
a row is refused by Django from a thousand on, and the filter of the list finds other rows a minute later.
Choice: the keys, as differences in ascending order, signed and compressed: some hundred bytes for thousands of
neighbours. With them goes a digest of what people decide about the rows, so that a change meanwhile is noticed.
Consequence: an action sees exactly the rows that it asked about, or is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

from django.core import signing
from django.db.models import QuerySet

from tenants import tickets

_SALT = "csms.selection"
# What a statement of SQLite takes, with room for the rest of it.
MOST_ROWS = 30_000


@dataclass(frozen=True)
class Selection:
    """The keys of the chosen rows, ascending, and a digest of their versions."""

    keys: Sequence[int]
    version: str

    @classmethod
    def of(cls, rows: QuerySet[Any], columns: tuple[str, ...]) -> Selection:
        """The rows of a query, at most MOST_ROWS + 1 of them."""
        found = list(rows.order_by("pk").values_list("pk", *columns)[: MOST_ROWS + 1])
        return cls([row[0] for row in found], tickets.digest([str(row) for row in found]))

    def sign(self) -> str:
        steps = [*self.keys[:1], *(later - earlier for earlier, later in pairwise(self.keys))]
        return signing.dumps([steps, self.version], salt=_SALT, compress=True)

    @classmethod
    def read(cls, text: str) -> Selection | None:
        """The selection that was signed; None when `text` is none of ours."""
        try:
            steps, version = signing.loads(text, salt=_SALT)
        except signing.BadSignature:
            return None
        return cls(list(accumulate(steps)), version)


def number_of(request: Any) -> int:
    """How many rows the action of this request is about."""
    selection: Selection | None = getattr(request, "csms_selection", None)
    return 0 if selection is None else len(selection.keys)
