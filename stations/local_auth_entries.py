"""Entries of local authorization lists: which are wanted, which are installed, and what lies between.

Context: a list may have 100,000 entries, a tenant a thousand lists, and most lists want the same tags.
Choice: what is wanted is never stored but read from the id tags, in one query; it is compared by fingerprints, whose
sum over a list says "the same" without a look at its entries.
Consequence: blocking a tag makes every list that wants it differ at once, with nothing to keep up to date.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import groupby
from typing import Any

from django.db import connection
from django.db.models import Exists, F, OuterRef, Q, QuerySet, Value
from django.db.models.functions import Collate

from stations.authorization import ACCEPTED, BLOCKED, EXPIRED, INVALID, Authorization
from stations.models import ChargePoint, ConfigurationKey, IdTag, IdTagSite
from stations.models.local_auth_list import (
    FINGERPRINTS,
    ListSource,
    LocalAuthList,
    LocalAuthListEntry,
    LocalAuthListIdTag,
    LocalAuthListSite,
    fingerprint,
)

ROWS_PER_FETCH = 2000
KEYS_PER_QUERY = 500
COLUMNS = ("key", "id_tag", "blocked", "expiry_date", "parent_id_tag", "limited", "here")
# The columns of an alias, which is an entry like its tag.
ALIAS_COLUMNS = ("aliases__key", "aliases__alias", *COLUMNS[2:])
ADD, CHANGE, REMOVE = "add", "change", "remove"
NAMED_SITES = "_named_site_ids"


@dataclass(frozen=True, slots=True)
class Limits:
    """What the charge point reported of its list; None where it reported nothing usable."""

    list_length: int | None
    request_length: int | None
    enabled: bool | None
    supported: bool | None

    @classmethod
    def of(cls, charge_point: ChargePoint) -> Limits:
        """From the configuration keys: LocalAuthListMaxLength, SendLocalListMaxLength, LocalAuthListEnabled and
        SupportedFeatureProfiles."""
        names = ("LocalAuthListMaxLength", "SendLocalListMaxLength", "LocalAuthListEnabled", "SupportedFeatureProfiles")
        rows = ConfigurationKey.objects.filter(charge_point=charge_point, key__in=names, value__isnull=False)
        values = dict(rows.values_list("key", "value"))
        enabled = (values.get(names[2]) or "").strip().lower()
        profiles = values.get(names[3])
        return cls(
            list_length=_positive(values.get(names[0])),
            request_length=_positive(values.get(names[1])),
            enabled={"true": True, "false": False}.get(enabled),
            supported=None
            if not profiles
            else "localauthlistmanagement" in {name.strip().lower() for name in profiles.split(",")},
        )


def _positive(text: str | None) -> int | None:
    text = (text or "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 and int(text) > 0 else None


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry that is wanted, with the status that Authorize would answer; never ConcurrentTx."""

    id_tag: str
    key: str
    status: str
    expiry_date: datetime | None
    parent_id_tag: str

    @property
    def fingerprint(self) -> int:
        status = ACCEPTED if self.status == EXPIRED else self.status
        return fingerprint(self.key, status, self.expiry_date, self.parent_id_tag)

    def info(self, charge_point: ChargePoint) -> dict[str, Any]:
        """The idTagInfo, as on the wire."""
        answer = Authorization(self.status, None, self.expiry_date, self.parent_id_tag)
        return answer.id_tag_info(charge_point)


# --- wanted -----------------------------------------------------------------------------------------------------------
def wanted(row: LocalAuthList, now: datetime) -> Iterator[Entry]:
    """The entries that `row` wants at `now`, in the order the tags were registered; `row` has its charge point.

    An alias of a tag is an entry of its own.

    By group: tags that may not charge at this charge point are left out. By hand: they are Invalid. By site: what is
    allowed at the sites named, whatever the site of the charge point.
    """
    return _entries(row, _named(row, _tags(row), lambda key: F("pk")).order_by("place", "key"), now)


def registered(charge_point: ChargePoint, id_tags: Iterable[str], now: datetime) -> dict[str, Entry]:
    """The entries of these id tags or aliases at `charge_point`, by upper case; those not registered are left out."""
    row = LocalAuthList(charge_point=charge_point, source=ListSource.ID_TAGS)
    keys = list({id_tag.upper() for id_tag in id_tags})
    found: dict[str, Entry] = {}
    for start in range(0, len(keys), KEYS_PER_QUERY):
        chunk = keys[start : start + KEYS_PER_QUERY]
        rows = _named(row, _with_sites(row), F, partial(_one_of, chunk))
        found.update((entry.key, entry) for entry in _entries(row, rows, now))
    return found


def _tags(row: LocalAuthList) -> QuerySet[IdTag]:
    rows = _with_sites(row)
    if row.source == ListSource.ID_TAGS:
        chosen = LocalAuthListIdTag.objects.filter(local_auth_list_id=row.pk)
        return rows.filter(pk__in=chosen.values("id_tag_id"))
    if row.source == ListSource.GROUPS:
        # Which groups is looked at below: the databases do not agree on how to search in JSON.
        return rows.exclude(groups=[])
    if row.source == ListSource.SITES:
        return rows.filter(Q(here=True) | Q(limited=False))
    return rows.none()


def _one_of(chunk: list[str], key: str) -> dict[str, Any]:
    return {f"{key}__in": chunk}


def _with_sites(row: LocalAuthList) -> QuerySet[IdTag]:
    """Id tags with `limited`, to some sites, and `here`, to one that counts for `row`."""
    at_sites = IdTagSite.objects.filter(id_tag_id=OuterRef("pk"))
    sites = _site_ids(row) if row.source == ListSource.SITES else [row.charge_point.site_id]
    here = at_sites.filter(site_id__in=[site_id for site_id in sites if site_id is not None])
    tags: QuerySet[IdTag] = IdTag.objects.all()
    return tags.annotate(limited=Exists(at_sites), here=Exists(here) if any(sites) else Value(False))


def _named(
    row: LocalAuthList,
    tags: QuerySet[IdTag],
    place: Callable[[str], Any],
    only: Callable[[str], dict[str, Any]] = lambda key: {},
) -> QuerySet[Any]:
    """COLUMNS of `tags`, and of their aliases, after their `place`; both `place` and `only` are given the key's name.

    With the groups of the tag where `row` goes by groups.
    """
    groups = ("groups",) if row.source == ListSource.GROUPS else ()
    mine, others = (
        tags.annotate(place=place(columns[0]))
        .filter(**only(columns[0]))
        .order_by()
        .values_list("place", *columns, *groups)
        for columns in (COLUMNS, ALIAS_COLUMNS)
    )
    return mine.union(others.filter(aliases__isnull=False), all=True)


def load_sites(rows: Iterable[LocalAuthList]) -> None:
    """Read the sites that each of `rows` names, in one query for all of them."""
    by_list: dict[int | None, list[int]] = {row.pk: [] for row in rows}
    named = LocalAuthListSite.objects.filter(local_auth_list_id__in=[pk for pk in by_list if pk is not None])
    for list_id, site_id in named.order_by("site_id").values_list("local_auth_list_id", "site_id"):
        by_list[list_id].append(site_id)
    for row in rows:
        row.__dict__[NAMED_SITES] = by_list[row.pk]


def _site_ids(row: LocalAuthList) -> list[int | None]:
    """The sites named, else that of the charge point."""
    if NAMED_SITES not in row.__dict__:
        load_sites([row])
    return row.__dict__[NAMED_SITES] or [row.charge_point.site_id]


def _entries(row: LocalAuthList, named: QuerySet[Any], now: datetime) -> Iterator[Entry]:
    """The entries of rows as `_named` gives them."""
    groups = set(row.groups) if row.source == ListSource.GROUPS else None
    anywhere = row.charge_point.accept_any_id_tag or row.source == ListSource.SITES
    for _, key, id_tag, blocked, expiry_date, parent_id_tag, limited, here, *own_groups in named.iterator(
        chunk_size=ROWS_PER_FETCH
    ):
        if groups is not None and groups.isdisjoint(*own_groups):
            continue
        if blocked:
            status = BLOCKED
        elif expiry_date is not None and expiry_date <= now:
            status = EXPIRED
        elif limited and not here and not anywhere:
            if groups is not None:
                continue
            status = INVALID
        else:
            status = ACCEPTED
        yield Entry(id_tag, key, status, expiry_date, parent_id_tag)


@dataclass(frozen=True, slots=True)
class Sum:
    """A list in short: two of the same length and fingerprint are the same."""

    length: int
    fingerprint: int

    @classmethod
    def of(cls, fingerprints: Iterable[int]) -> Sum:
        length = total = 0
        for each in fingerprints:
            length += 1
            total += each
        return cls(length, total % FINGERPRINTS)


def wanted_sum(row: LocalAuthList, now: datetime, known: dict[Any, Sum] | None = None) -> Sum:
    """The list that is wanted, in short. `known` saves asking twice for charge points that want the same."""
    signature: Any = None
    if known is not None and row.source != ListSource.ID_TAGS:
        sites = tuple(_site_ids(row)) if row.source == ListSource.SITES else row.charge_point.site_id
        signature = (row.source, tuple(row.groups), sites, row.charge_point.accept_any_id_tag)
        if signature in known:
            return known[signature]
    result = Sum.of(entry.fingerprint for entry in wanted(row, now))
    if known is not None and signature is not None:
        known[signature] = result
    return result


# --- compared ---------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Difference:
    """What has to happen to the installed list for it to be the wanted one."""

    wanted: list[Entry]
    added: list[Entry]
    changed: list[Entry]
    removed: list[str]

    def __len__(self) -> int:
        return len(self.added) + len(self.changed) + len(self.removed)


def difference(row: LocalAuthList, now: datetime) -> Difference:
    """Compare what `row` wants with what is installed: two queries, whatever the length."""
    installed = dict(
        (key, (id_tag, mark))
        for key, id_tag, mark in LocalAuthListEntry.objects.filter(local_auth_list_id=row.pk)
        .order_by("key")
        .values_list("key", "id_tag", "fingerprint")
        .iterator(chunk_size=ROWS_PER_FETCH)
    )
    result = Difference(list(wanted(row, now)), [], [], [])
    for entry in result.wanted:
        there = installed.pop(entry.key, None)
        if there is None:
            result.added.append(entry)
        elif there[1] != entry.fingerprint:
            result.changed.append(entry)
    result.removed.extend(id_tag for id_tag, _ in installed.values())
    return result


@dataclass(frozen=True, slots=True)
class Pair:
    """One id tag of the wanted list, of the installed one, or of both; idTagInfo as on the wire."""

    key: str
    id_tag: str
    desired: dict[str, Any] | None
    installed: dict[str, Any] | None
    change: str | None


def pairs(
    row: LocalAuthList, now: datetime, *, edge: str | None = None, backwards: bool = False, differing: bool = False
) -> Iterator[Pair]:
    """Both lists beside each other by upper-case idTag, beyond `edge`; read as far as the caller goes.

    `differing` leaves out what is the same in both.
    """
    beyond = partial(_beyond, edge, backwards)
    order = "-place" if backwards else "place"
    tags = _entries(row, _named(row, _tags(row), _place, beyond).order_by(order), now)
    entries: QuerySet[Any] = LocalAuthListEntry.objects.filter(local_auth_list_id=row.pk).annotate(place=_place("key"))
    there = entries.filter(**beyond("key")).order_by(order).iterator(chunk_size=ROWS_PER_FETCH)
    merged = heapq.merge(
        ((entry.key, entry) for entry in tags),
        ((entry.key, entry) for entry in there),
        key=lambda one: one[0],
        reverse=backwards,
    )
    for key, same_key in groupby(merged, key=lambda one: one[0]):
        found: dict[type, Any] = {type(one): one for _, one in same_key}
        desired, installed = found.get(Entry), found.get(LocalAuthListEntry)
        change = None
        if installed is None:
            change = ADD
        elif desired is None:
            change = REMOVE if row.source else None
        elif desired.fingerprint != installed.fingerprint:
            change = CHANGE
        if change is None and differing:
            continue
        yield Pair(
            key,
            next(iter(found.values())).id_tag if desired is None else desired.id_tag,
            None if desired is None else desired.info(row.charge_point),
            None if installed is None else installed.info,
            change,
        )


def _place(key: str) -> Any:
    """The key in the order in which Python compares texts, whatever the database's language."""
    return Collate(F(key), "C" if connection.vendor == "postgresql" else "BINARY")


def _beyond(edge: str | None, backwards: bool, key: str) -> dict[str, Any]:
    """What is beyond `edge`; by its place, whichever key that is made of."""
    return {} if edge is None else {"place__lt" if backwards else "place__gt": edge}
