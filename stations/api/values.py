"""Values that several resources take, checked in one way. Errors are those of a serializer, at the member."""

from __future__ import annotations

from rest_framework import serializers

from stations import credentials, registration
from tenants.api.views import TenantAPIView
from tenants.models import Site, Tenant


def checked_password(text: str, tenant: Tenant | None = None) -> str:
    """`text` when it can be a charge point's password; of `tenant`: also one that only this tenant allows.

    Raises ValidationError `invalid_password`.
    """
    try:
        if tenant is None:
            credentials.canonical(text)
        else:
            registration.check_password(text, tenant)
    except credentials.InvalidPassword as error:
        raise serializers.ValidationError(str(error), code="invalid_password") from None
    return text


def sites_named(view: TenantAPIView, slugs: list[str]) -> list[Site]:
    """The sites of these slugs, each once; raises ValidationError at each that the caller cannot see."""
    found = {site.slug: site for site in Site.objects.filter(slug__in=slugs)}
    allowed = view.site_ids()
    unknown = {
        index: [serializers.ErrorDetail("There is no site of this slug.", code="unknown_site")]
        for index, slug in enumerate(slugs)
        if slug not in found or (allowed is not None and found[slug].pk not in allowed)
    }
    if unknown:
        raise serializers.ValidationError(unknown)
    return [found[slug] for slug in dict.fromkeys(slugs)]
