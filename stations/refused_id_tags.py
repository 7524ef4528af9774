"""Refused cards: which registered tags they may be meant as, and how one becomes a tag or an alias in one step.

A name is one tag or one alias of a tag, never two; whoever registers either asks `taken` first. A card that is let in
from now on leaves the list of refused ones, wherever it was refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from stations.id_tag_spellings import other_forms, relation
from stations.models import IdTag, IdTagAlias, RefusedIdTag
from stations.models.id_tag import validate_id_tag

# Of each card; a tag that is meant by many cards says nothing.
MOST_NEAR = 5


class NameTaken(Exception):
    """There is a tag, or an alias, of this name already."""


@dataclass(frozen=True, slots=True)
class Near:
    """A registered tag that a refused card may be meant as, and in which way (id_tag_spellings.SENTENCES)."""

    id_tag: IdTag
    why: str


def near(refused: Iterable[RefusedIdTag]) -> dict[int, list[Near]]:
    """Registered tags that may be meant, by the id of the refused row. One query for all of them."""
    forms = {row.pk: (row.id_tag, other_forms(row.id_tag)) for row in refused if row.reason == "unknown"}
    wanted = {form for _, found in forms.values() for form in found}
    by_form: dict[str, list[IdTag]] = {}
    for tag in IdTag.objects.filter(alike__in=wanted).order_by("pk") if wanted else ():
        by_form.setdefault(tag.alike, []).append(tag)
    return {
        pk: [
            Near(tag, exactly)
            for form, why in found.items()
            for tag in by_form.get(form, ())
            if tag.key != id_tag.upper() and (exactly := relation(id_tag, tag.id_tag, why))
        ][:MOST_NEAR]
        for pk, (id_tag, found) in forms.items()
    }


def taken(name: str, *, by_other_than: IdTag | None = None) -> bool:
    """Whether there is a tag of this name, or an alias; those of `by_other_than` do not count."""
    pk = None if by_other_than is None else by_other_than.pk
    return IdTag.objects.filter(key=name.upper()).exclude(pk=pk).exists() or is_alias(name, of_other_than=by_other_than)


def is_alias(name: str, *, of_other_than: IdTag | None = None) -> bool:
    """Whether there is an alias of this name; those of `of_other_than` do not count."""
    pk = None if of_other_than is None else of_other_than.pk
    return IdTagAlias.objects.filter(key=name.upper()).exclude(id_tag=pk).exists()


def add(name: str, **fields: Any) -> IdTag:
    """Register a refused card as a tag. Raises NameTaken; ValidationError for what no idTag can be."""
    validate_id_tag(name)
    if taken(name):
        raise NameTaken(name)
    try:
        with transaction.atomic():
            tag = IdTag.objects.create(id_tag=name, **fields)
            forget(name)
    except IntegrityError:
        raise NameTaken(name) from None
    return tag


def add_alias(tag: IdTag, name: str) -> IdTagAlias:
    """Make `name` another name of `tag`. Raises NameTaken; ValidationError for what no idTag can be."""
    validate_id_tag(name)
    if taken(name):
        raise NameTaken(name)
    try:
        with transaction.atomic():
            alias = IdTagAlias.objects.create(id_tag=tag, alias=name)
            forget(name)
    except IntegrityError:
        raise NameTaken(name) from None
    return alias


def set_aliases(tag: IdTag, names: list[str]) -> tuple[list[str], list[str]]:
    """Make `names` the aliases of `tag`, each once; gives those before and after. Raises as `add_alias`."""
    there = list(IdTagAlias.objects.filter(id_tag=tag))
    wanted = {name.upper(): name for name in names}
    before = [alias.alias for alias in there]
    for alias in there:
        if alias.key not in wanted:
            alias.delete()
    known = {alias.key for alias in there}
    for key, name in wanted.items():
        if key == tag.key:
            raise ValidationError("An id tag is no alias of itself.", code="own_alias")
        if key not in known:
            add_alias(tag, name)
    return before, list(IdTagAlias.objects.filter(id_tag=tag).values_list("alias", flat=True))


def forget(name: str) -> int:
    """Take a card off the list of refused ones; gives the number of rows."""
    return RefusedIdTag.objects.filter(key=name.upper()).delete()[0]
