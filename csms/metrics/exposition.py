"""The page `/metrics`: the figures of every process of this host, for Prometheus and for nobody else."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Iterator
from ipaddress import ip_address

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from csms.metrics import figures, installation
from csms.proxies import is_trusted
from tenants.api.requests import peer_of

# Tenants that have a line of their own; the others share one.
MOST_TENANTS = 50
OTHER = "other"
# Any of these says that somebody else is behind the one who connected.
FORWARDED = ("X-Forwarded-For", "Forwarded", "X-Real-IP", "Via")


def page(request: HttpRequest) -> HttpResponse:
    """The figures as text; 404 for whoever may not see them, as if there were none."""
    if not may_read(request):
        raise Http404
    return HttpResponse(text(), content_type=CONTENT_TYPE_LATEST, headers={"Cache-Control": "no-store"})


def may_read(request: HttpRequest) -> bool:
    """With CSMS_METRICS_TOKEN only who shows it; without, this machine and the trusted proxies themselves.

    A proxy that is not configured passes on other people's requests from this very machine: what names a forwarder
    and does not come from a trusted one is refused, and so is what a trusted one passes on without saying for whom.
    """
    if settings.CSMS_METRICS_TOKEN:
        shown = request.headers.get("Authorization", "").encode()
        return hmac.compare_digest(shown, f"Bearer {settings.CSMS_METRICS_TOKEN}".encode())
    forwarded = [name for name in FORWARDED if name in request.headers]
    if forwarded and not (is_trusted(request.META.get("REMOTE_ADDR", "")) and forwarded[0] == FORWARDED[0]):
        return False
    address = peer_of(request).address
    return is_trusted(address) or _is_loopback(address)


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


def text() -> bytes:
    """The exposition in Prometheus' text format."""
    registry = CollectorRegistry()
    figures.begin(settings.CSMS_METRICS_DIR)
    registry.register(_Figures())
    return generate_latest(registry)


class _Figures:
    """Everything there is to tell, as prometheus-client wants it."""

    def collect(self) -> Iterator[Metric]:
        for metric in figures.collector().collect():
            yield _by_tenant(metric) if metric.name == "csms_connections" else metric
        yield from installation.collect()

    def describe(self) -> Iterable[Metric]:
        return ()


def _by_tenant(metric: Metric) -> Metric:
    """Connections by slug instead of id: the tenants with the most, and one line for the rest."""
    counts = {int(sample.labels["tenant"]): sample.value for sample in metric.samples if sample.value > 0}
    most = sorted(counts, key=lambda tenant_id: (-counts[tenant_id], tenant_id))[:MOST_TENANTS]
    names = installation.slugs(most)
    capped = Metric(metric.name, metric.documentation, metric.type)
    rest = sum(counts.values())
    for tenant_id in most:
        # A tenant may be called "other"; there can be one line of that name.
        if names.get(tenant_id, OTHER) != OTHER:
            capped.add_sample(metric.name, {"tenant": names[tenant_id]}, counts[tenant_id])
            rest -= counts[tenant_id]
    capped.add_sample(metric.name, {"tenant": OTHER}, rest)
    return capped
