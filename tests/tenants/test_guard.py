"""The first wall: every kind of query, in no scope, in the own scope, in another tenant's and in the platform's.

A new kind of query is a new row of READS or WRITES.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.core import serializers
from django.db import DatabaseError, IntegrityError, connection, models, transaction
from django.db.models import Case, Count, Exists, F, OuterRef, Prefetch, Q, Subquery, Value, When

from tenants.models import ApiKey, AuditEntry, JobRun, Membership, MembershipSite, Site, Tenant
from tenants.scope import CrossTenantWrite, NoTenantScope, platform_scope, tenant_scope
from tenants.scoped import TenantQuerySet
from tests.tenants.conftest import Rows

Slugs = list[str]


def _await(make: Callable[[], Any]) -> Any:
    """The result of the coroutine that `make` returns, run in an event loop."""

    async def run() -> Any:
        return await make()

    return async_to_sync(run)()


async def _slugs_of_aiter() -> Slugs:
    return [site.slug async for site in Site.objects.all()]


async def _slugs_of_aiterator() -> Slugs:
    return [site.slug async for site in Site.objects.aiterator()]


async def _aget() -> Slugs:
    return [(await Site.objects.aget(slug=site.slug)).slug async for site in Site.objects.all()]


def _slugs(sites: Any) -> Slugs:
    return sorted(site.slug for site in sites)


def _everything(slugs: Slugs) -> Slugs:
    return slugs


def _unordered(**conditions: Any) -> Any:
    """SQLite takes no ORDER BY inside a compound statement."""
    return Site.objects.filter(**conditions).order_by()


def _counted_by_name() -> Any:
    return Site.objects.order_by().values("name").annotate(n=Count("pk"))


# Built at import, as the querysets of views and admin classes are.
CLASS_LEVEL = Site.objects.filter(name="Site").order_by("slug")
CLASS_LEVEL_SUBQUERY = Site.objects.filter(pk__in=Site.objects.values("pk")).order_by("slug")
OF_SAME_TENANT = Site.objects.filter(slug=OuterRef("slug"))

# name: (what is asked, what the answer is when just the sites with these slugs exist)
READS: dict[str, tuple[Callable[[], Any], Callable[[Slugs], Any]]] = {
    "iterate": (lambda: _slugs(Site.objects.all()), _everything),
    "iterate class-level queryset": (lambda: _slugs(CLASS_LEVEL.all()), _everything),
    "iterate class-level subquery": (lambda: _slugs(CLASS_LEVEL_SUBQUERY.all()), _everything),
    "iterate, async": (lambda: sorted(_await(_slugs_of_aiter)), _everything),
    "iterator()": (lambda: _slugs(Site.objects.iterator(chunk_size=1)), _everything),
    "aiterator()": (lambda: sorted(_await(_slugs_of_aiterator)), _everything),
    "get, async": (lambda: sorted(_await(_aget)), _everything),
    "get": (lambda: Site.objects.get(pk=Site.objects.order_by("slug")[0].pk).slug, lambda slugs: slugs[0]),
    "slice": (lambda: _slugs(Site.objects.order_by("slug")[:1]), lambda slugs: slugs[:1]),
    "first": (lambda: Site.objects.order_by("slug").first().slug, lambda slugs: slugs[0]),
    "latest": (lambda: Site.objects.latest("slug").slug, lambda slugs: slugs[-1]),
    "reverse": (lambda: _slugs(Site.objects.order_by("slug").reverse()), _everything),
    "len": (lambda: len(Site.objects.all()), len),
    "bool": (lambda: bool(Site.objects.all()), bool),
    "count": (lambda: Site.objects.count(), len),
    "count, async": (lambda: _await(Site.objects.acount), len),
    "count distinct slice": (lambda: Site.objects.values("slug").distinct()[:9].count(), len),
    "exists": (lambda: Site.objects.exists(), bool),
    "contains": (lambda: Site.objects.contains(Site.objects.earliest("slug")), lambda slugs: True),
    "aggregate": (lambda: Site.objects.aggregate(n=Count("pk"))["n"], len),
    "aggregate over annotation": (
        lambda: Site.objects.annotate(n=Count("memberships")).aggregate(total=models.Sum("n"))["total"],
        len,
    ),
    "annotate group": (
        lambda: list(Site.objects.order_by().values_list("name").annotate(n=Count("pk")).values_list("n", flat=True)),
        lambda slugs: [len(slugs)],
    ),
    "having": (
        lambda: _slugs(Site.objects.annotate(n=Count("memberships")).filter(Q(n__gte=1) | Q(slug="none"))),
        _everything,
    ),
    "values": (lambda: sorted(row["slug"] for row in Site.objects.values("slug")), _everything),
    "values_list": (lambda: sorted(Site.objects.values_list("slug", flat=True)), _everything),
    "dates": (lambda: len(JobRun.objects.dates("created_at", "year")), lambda slugs: 0),
    "datetimes": (lambda: len(JobRun.objects.datetimes("created_at", "hour")), lambda slugs: 0),
    "in_bulk": (lambda: _slugs(Site.objects.in_bulk().values()), _everything),
    "explain": (lambda: bool(Site.objects.explain()), lambda slugs: True),
    "filter": (lambda: _slugs(Site.objects.filter(name="Site")), _everything),
    "filter with or": (lambda: _slugs(Site.objects.filter(Q(name="Site") | Q(pk__gt=0))), _everything),
    "exclude": (lambda: _slugs(Site.objects.exclude(name="other")), _everything),
    "exclude over a relation": (lambda: _slugs(Site.objects.exclude(memberships__role="owner")), _everything),
    "or of querysets": (lambda: _slugs(Site.objects.filter(pk__gt=0) | Site.objects.filter(name="Site")), _everything),
    "and of querysets": (lambda: _slugs(Site.objects.filter(pk__gt=0) & Site.objects.filter(name="Site")), _everything),
    "xor of querysets": (lambda: _slugs(Site.objects.filter(pk__gt=0) ^ Site.objects.filter(name="x")), _everything),
    "or of grouped querysets": (
        lambda: _slugs(
            Site.objects.annotate(n=Count("memberships")).filter(n=1)
            | Site.objects.annotate(n=Count("memberships")).filter(n=2)
        ),
        _everything,
    ),
    "or of querysets grouped by another column": (
        lambda: [
            row["n"]
            for row in _counted_by_name().filter(n=1) | _counted_by_name().filter(n=2) | _counted_by_name().filter(n=3)
        ],
        lambda slugs: [len(slugs)],
    ),
    "union": (lambda: _slugs(_unordered(pk__gt=0).union(_unordered(name="Site"))), _everything),
    "union all": (
        lambda: len(_unordered(pk__gt=0).union(_unordered(name="Site"), all=True)),
        lambda slugs: 2 * len(slugs),
    ),
    "union, counted": (lambda: _unordered(pk__gt=0).union(_unordered(name="x")).count(), len),
    "intersection": (lambda: _slugs(_unordered().intersection(_unordered(name="Site"))), _everything),
    "difference": (lambda: _slugs(_unordered().difference(_unordered(name="x"))), _everything),
    "distinct": (lambda: _slugs(Site.objects.distinct()), _everything),
    "defer": (lambda: sorted(site.slug for site in Site.objects.defer("slug", "tenant")), _everything),
    "select_for_update": (lambda: _select_for_update(), _everything),
    "select_related": (lambda: len(MembershipSite.objects.select_related("site", "membership")), len),
    "filter over a relation": (lambda: MembershipSite.objects.filter(site__name="Site").count(), len),
    "forward reference": (lambda: _slugs(row.site for row in MembershipSite.objects.all()), _everything),
    "related manager": (
        lambda: _slugs(s for member in Membership.objects.all() for s in member.sites.all()),
        _everything,
    ),
    "prefetch_related": (
        lambda: _slugs(s for member in Membership.objects.prefetch_related("sites") for s in member.sites.all()),
        _everything,
    ),
    "prefetch_related with queryset": (
        lambda: _slugs(
            s
            for member in Membership.objects.prefetch_related(Prefetch("sites", CLASS_LEVEL.all(), to_attr="some"))
            for s in member.some
        ),
        _everything,
    ),
    "pk__in subquery": (lambda: _slugs(Site.objects.filter(pk__in=Site.objects.filter(name="Site"))), _everything),
    "subquery of a platform model": (
        lambda: User.objects.filter(pk__in=Membership.objects.values("user")).count(),
        lambda slugs: len({slug[0] for slug in slugs}),
    ),
    "annotated Subquery on a platform model": (
        lambda: len(
            [t for t in Tenant.objects.annotate(s=Subquery(Site.objects.filter(name="Site").values("slug")[:1])) if t.s]
        ),
        lambda slugs: 2,
    ),
    "Exists": (lambda: _slugs(Site.objects.filter(Exists(OF_SAME_TENANT))), _everything),
    "Exists on a platform model": (
        lambda: Tenant.objects.filter(Exists(Site.objects.filter(tenant=OuterRef("pk")))).count(),
        lambda slugs: len({slug[0] for slug in slugs}),
    ),
    "extra": (lambda: _slugs(Site.objects.extra(where=["1 = 1 OR 1 = 1"])), _everything),  # noqa: S610
    "unpickled query": (lambda: _slugs(_unpickled(Site.objects.filter(name="Site"))), _everything),
    "deep-copied queryset": (lambda: _slugs(copy.deepcopy(CLASS_LEVEL)), _everything),
    "default manager": (lambda: _slugs(Site._default_manager.all()), _everything),
    "base manager": (lambda: _slugs(Site._base_manager.all()), _everything),
    "queryset made by hand": (lambda: _slugs(TenantQuerySet(Site)), _everything),
    "own queryset class": (lambda: len(AuditEntry.objects.all()), lambda slugs: 0),
    "using()": (lambda: _slugs(Site.objects.using("default")), _everything),
}


def _select_for_update() -> Slugs:
    with transaction.atomic():
        return _slugs(Site.objects.select_for_update(skip_locked=connection.features.has_select_for_update_skip_locked))


def _unpickled(queryset: Any) -> Any:
    copied = Site.objects.all()
    copied.query = pickle.loads(pickle.dumps(queryset.query))  # noqa: S301
    return copied


@pytest.mark.parametrize("name", READS)
def test_read_without_scope_is_refused(rows: Rows, name: str) -> None:
    ask, _ = READS[name]
    with pytest.raises(NoTenantScope):
        ask()


@pytest.mark.parametrize("name", READS)
def test_read_sees_the_rows_of_the_open_scope_alone(rows: Rows, name: str) -> None:
    ask, expected = READS[name]
    with tenant_scope(rows.tenant_a):
        assert ask() == expected(["a1", "a2"])
    with tenant_scope(rows.tenant_b):
        assert ask() == expected(["b1"])


@pytest.mark.parametrize("name", READS)
def test_read_in_the_platform_scope_sees_all_tenants(rows: Rows, name: str) -> None:
    ask, expected = READS[name]
    with platform_scope():
        assert ask() == expected(["a1", "a2", "b1"])


def _new(**values: Any) -> Site:
    return Site(**{"slug": "new", "name": "New"} | values)


def _changed(site: Site) -> Site:
    site.name = "Changed"
    return site


# name: (what is done to the rows of tenant a, and what comes of it in the scope of tenant b)
WRITES: dict[str, tuple[Callable[[Rows], Any], Any]] = {
    "update": (lambda rows: Site.objects.filter(pk=rows.a1.pk).update(name="Changed"), 0),
    "update, async": (lambda rows: _await(lambda: Site.objects.filter(pk=rows.a1.pk).aupdate(name="Changed")), 0),
    "update over a relation": (
        lambda rows: Site.objects.filter(memberships=rows.member_a.pk, slug="a1").update(name="Changed"),
        0,
    ),
    "update with Case": (
        lambda rows: Site.objects.filter(pk=rows.a1.pk).update(name=Case(When(pk__gt=0, then=Value("Changed")))),
        0,
    ),
    "update with F": (lambda rows: Site.objects.filter(pk=rows.a1.pk).update(name=F("slug")), 0),
    "bulk_update": (lambda rows: Site.objects.bulk_update([_changed(rows.a1)], ["name"]), CrossTenantWrite),
    "bulk_update, async": (
        lambda rows: _await(lambda: Site.objects.abulk_update([_changed(rows.a1)], ["name"])),
        CrossTenantWrite,
    ),
    "save": (lambda rows: _changed(rows.a1).save() or 1, CrossTenantWrite),
    "save update_fields": (lambda rows: _changed(rows.a1).save(update_fields=["name"]) or 1, CrossTenantWrite),
    "save, async": (lambda rows: _await(lambda: _changed(rows.a1).asave()) or 1, CrossTenantWrite),
    "save under a copied primary key": (lambda rows: _save_under(rows.a1.pk), IntegrityError),
    "forced update under a copied primary key": (
        lambda rows: _save_under(rows.a1.pk, force_update=True),
        DatabaseError,
    ),
    "save_base": (lambda rows: _changed(rows.a1).save_base() or 1, CrossTenantWrite),
    "fixture": (lambda rows: _load(_changed(rows.a1)), CrossTenantWrite),
    "fixture of a new row": (lambda rows: _load(_new(tenant=rows.tenant_a)), CrossTenantWrite),
    "queryset delete": (lambda rows: Site.objects.filter(pk=rows.a2.pk).delete()[0] and 1, 0),
    "queryset delete of what nothing points at": (
        lambda rows: MembershipSite.objects.filter(site=rows.a1.pk).delete()[0],
        0,
    ),
    "queryset delete, async": (
        lambda rows: _await(Site.objects.filter(pk=rows.a2.pk).adelete)[0] and 1,
        0,
    ),
    "_raw_delete": (lambda rows: MembershipSite.objects.filter(site=rows.a1.pk)._raw_delete("default"), 0),
    "delete": (lambda rows: rows.a2.delete()[0] and 1, CrossTenantWrite),
    "delete, async": (lambda rows: _await(rows.a2.adelete)[0] and 1, CrossTenantWrite),
    "update_or_create": (
        lambda rows: Site.objects.update_or_create(pk=rows.a1.pk, defaults={"name": "Changed", "slug": "a1"}) and 1,
        IntegrityError,
    ),
    "create for the tenant": (
        lambda rows: Site.objects.create(slug="new", name="New", tenant=rows.tenant_a) and 1,
        CrossTenantWrite,
    ),
    "create for the tenant's id": (
        lambda rows: Site.objects.create(slug="new", name="New", tenant_id=rows.tenant_a.pk) and 1,
        CrossTenantWrite,
    ),
    "get_or_create for the tenant": (
        lambda rows: Site.objects.get_or_create(slug="new", name="New", tenant=rows.tenant_a) and 1,
        CrossTenantWrite,
    ),
    "bulk_create for the tenant": (
        lambda rows: len(Site.objects.bulk_create([_new(tenant=rows.tenant_a)])),
        CrossTenantWrite,
    ),
    "bulk_create for the tenant, async": (
        lambda rows: len(_await(lambda: Site.objects.abulk_create([_new(tenant=rows.tenant_a)]))),
        CrossTenantWrite,
    ),
    "bulk_create ignoring conflicts for the tenant": (
        lambda rows: len(Site.objects.bulk_create([_new(tenant=rows.tenant_a)], ignore_conflicts=True)),
        CrossTenantWrite,
    ),
    "upsert on the primary key": (
        lambda rows: len(
            Site.objects.bulk_create(
                [Site(pk=rows.a1.pk, slug="upserted", name="Changed")],
                update_conflicts=True,
                unique_fields=["pk"],
                update_fields=["name"],
            )
        ),
        CrossTenantWrite,
    ),
    "upsert on a global unique constraint": (
        lambda rows: len(
            ApiKey.objects.bulk_create(
                [ApiKey(prefix="a" * 12, name="Changed", salt=b"", secret_hash=b"", scopes=["manage"])],
                update_conflicts=True,
                unique_fields=["prefix"],
                update_fields=["name", "scopes"],
            )
        ),
        CrossTenantWrite,
    ),
    "related manager add": (lambda rows: rows.member_a.sites.add(rows.a1, _saved_site(rows)) or 1, CrossTenantWrite),
    "related manager clear": (lambda rows: rows.member_a.sites.clear() or 1, None),
    "related manager create": (
        lambda rows: rows.member_a.sites.create(slug="new", name="New") and 1,
        CrossTenantWrite,
    ),
    "reference by instance": (
        lambda rows: MembershipSite.objects.create(membership=rows.member_a, site=_saved_site(rows)) and 1,
        CrossTenantWrite,
    ),
    "reference by id": (
        lambda rows: MembershipSite.objects.create(membership_id=rows.member_a.pk, site_id=_saved_site(rows).pk) and 1,
        CrossTenantWrite,
    ),
}


def _saved_site(rows: Rows) -> Site:
    return Site.objects.create(slug="mine", name="Mine")


def _save_under(pk: int, **options: Any) -> int:
    Site(pk=pk, slug="a1", name="Changed").save(**options)
    return 1


def _load(site: Site) -> int:
    text = serializers.serialize("json", [site])
    for loaded in serializers.deserialize("json", text):
        loaded.save()
    return 1


def _state_of_tenant_a(rows: Rows) -> list[list[tuple[Any, ...]]]:
    with platform_scope():
        return [
            list(model.objects.filter(tenant=rows.tenant_a).order_by("pk").values_list())
            for model in (Site, Membership, MembershipSite, ApiKey)
        ]


@pytest.mark.parametrize("name", WRITES)
def test_write_without_scope_is_refused(rows: Rows, name: str) -> None:
    write, _ = WRITES[name]
    before = _state_of_tenant_a(rows)
    with pytest.raises(NoTenantScope), transaction.atomic():
        write(rows)
    assert _state_of_tenant_a(rows) == before


@pytest.mark.parametrize("name", WRITES)
def test_write_in_the_own_scope_works(rows_in_a: Rows, name: str) -> None:
    write, _ = WRITES[name]
    before = _state_of_tenant_a(rows_in_a)
    assert write(rows_in_a) == 1
    with transaction.atomic():
        unchanged = before == _state_of_tenant_a(rows_in_a)
    # Without an effect here, the two tests around this one would prove nothing.
    assert not unchanged


@pytest.mark.parametrize("name", WRITES)
def test_write_from_another_tenants_scope_has_no_effect(rows: Rows, name: str) -> None:
    write, outcome = WRITES[name]
    before = _state_of_tenant_a(rows)
    with tenant_scope(rows.tenant_b):
        if isinstance(outcome, type):
            with pytest.raises(outcome), transaction.atomic():
                write(rows)
        else:
            assert write(rows) == outcome or outcome is None
    assert _state_of_tenant_a(rows) == before
