"""What the benchmark has to do inside a temporary database: charge points and people before, counting after."""

from __future__ import annotations

from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.contrib.sessions.backends.db import SessionStore
from django.db.models import Count

from stations import credentials
from stations.models import ChargePoint, IdTag, Transaction
from tenants.models import ApiKey, ApiScope, Membership, Tenant
from tenants.models.membership import Role
from tenants.scope import tenant_scope

SLUG = "benchmark"
# The id tag of transactions that no charge point of the run has charged (history.py).
HISTORY = "HISTORY"


def tenant() -> Tenant:
    return Tenant.objects.get(slug=SLUG)


def seed(stations: int, slug: str = SLUG, prefix: str = "BENCH") -> list[tuple[str, str, str]]:
    """A tenant with charge points and an idTag for each: `(identity, password, id_tag)`."""
    made = [(f"{prefix}-{n:05}", credentials.generate(), f"{prefix}-TAG-{n:05}") for n in range(stations)]
    with tenant_scope(Tenant.objects.create(slug=slug, name=slug.capitalize())):
        ChargePoint.objects.bulk_create(
            (
                ChargePoint(identity=identity, password_hash=credentials.hashed(password.encode(), generated=True))
                for identity, password, _ in made
            ),
            batch_size=1000,
        )
        IdTag.objects.bulk_create((IdTag(id_tag=id_tag, key=id_tag.upper()) for _, _, id_tag in made), batch_size=1000)
    return made


def count() -> dict[str, int]:
    """How many meter values of its transactions of this run each charge point has: `identity: number`."""
    with tenant_scope(tenant()):
        own = Transaction.objects.exclude(id_tag=HISTORY).order_by()
        found: dict[str, int] = dict(own.values_list("charge_point__identity").annotate(number=Count("meter_values")))
        return {identity: number for identity, number in found.items() if number}


def api_key() -> str:
    """A key that may do everything."""
    return ApiKey.issue(tenant(), "Benchmark", ApiScope.values)[1]


def session() -> str:
    """The session of somebody who is signed in to the admin as the tenant's owner: the value of the cookie."""
    user = get_user_model().objects.create_user("benchmark", is_staff=True)
    with tenant_scope(tenant()):
        Membership.objects.create(user=user, role=Role.OWNER)
    store = SessionStore()
    store[SESSION_KEY] = str(user.pk)
    store[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    store[HASH_SESSION_KEY] = user.get_session_auth_hash()
    store.save()
    return str(store.session_key)
