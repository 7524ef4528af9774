"""What the benchmark has to do inside a temporary database: charge points before, counting after."""

from __future__ import annotations

from django.db.models import Count

from stations import credentials
from stations.models import ChargePoint, IdTag, MeterValue
from tenants.models import Tenant
from tenants.scope import tenant_scope

SLUG = "benchmark"


def seed(stations: int) -> list[tuple[str, str, str]]:
    """A tenant with charge points and an idTag for each: `(identity, password, id_tag)`."""
    made = [(f"BENCH-{n:05}", credentials.generate(), f"BENCH-TAG-{n:05}") for n in range(stations)]
    tenant = Tenant.objects.create(slug=SLUG, name="Benchmark")
    with tenant_scope(tenant):
        ChargePoint.objects.bulk_create(
            ChargePoint(identity=identity, password_hash=credentials.hashed(password.encode(), generated=True))
            for identity, password, _ in made
        )
        IdTag.objects.bulk_create(IdTag(id_tag=id_tag, key=id_tag.upper()) for _, _, id_tag in made)
    return made


def count() -> dict[str, int]:
    """How many meter values of a transaction each charge point has: `identity: number`."""
    with tenant_scope(Tenant.objects.get(slug=SLUG)):
        counted = MeterValue.objects.filter(transaction__isnull=False).order_by()
        return dict(counted.values_list("charge_point__identity").annotate(Count("id")))
