"""manage.py create_tenant: make a tenant and, if asked, an API key. Prints one JSON object on stdout, nothing else."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from csms import addresses
from stations.models.charge_point import SecurityProfile
from tenants.models import ApiKey, Tenant, UnknownChargePoints
from tenants.models.api_key import validate_scopes


class Command(BaseCommand):
    help = "Make a tenant. Prints one JSON object: tenant, ocpp_url, api_key (shown this once; null without --api-key)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("slug", metavar="SLUG", help="part of the charge points' URL: a-z, 0-9 and hyphens")
        parser.add_argument("--name", help="name for people (default: the slug)")
        parser.add_argument("--currency", default="EUR", help="ISO 4217 code (default: EUR)")
        parser.add_argument("--time-zone", default="UTC", help="IANA name such as Europe/Berlin (default: UTC)")
        parser.add_argument(
            "--api-key", metavar="SCOPES", help="issue a key: read,operate,manage,billing or some of them"
        )
        parser.add_argument(
            "--allow-profile-0", action="store_true", help="let charge points connect without a password"
        )
        parser.add_argument(
            "--allow-weak-passwords",
            action="store_true",
            help="take passwords of 1 to 40 bytes, for charge points whose factory password cannot be changed",
        )
        parser.add_argument(
            "--unknown",
            choices=UnknownChargePoints.values,
            default=UnknownChargePoints.REFUSE.value,
            help="what a charge point gets that nobody registered (default: refuse)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if settings.CSMS_PUBLIC_URL and not settings.CSMS_PUBLIC_URL.startswith(("http://", "https://")):
            raise CommandError("CSMS_PUBLIC_URL must start with http:// or https://.")
        tenant = Tenant(
            slug=options["slug"],
            name=options["name"] or options["slug"],
            currency=options["currency"],
            time_zone=options["time_zone"],
            allow_security_profile_0=options["allow_profile_0"],
            allow_weak_passwords=options["allow_weak_passwords"],
            unknown_charge_points=options["unknown"],
        )
        scopes = None
        if options["api_key"] is not None:
            scopes = [scope.strip() for scope in options["api_key"].split(",") if scope.strip()]
        api_key = None
        try:
            if scopes is not None:
                validate_scopes(scopes)
            with transaction.atomic():
                tenant.full_clean()
                tenant.save()
                if scopes is not None:
                    _, api_key = ApiKey.issue(tenant, "create_tenant", scopes)
        except ValidationError as error:
            raise CommandError(_sentence(error)) from error
        url = ocpp_url(tenant)
        if url is None:
            self.stderr.write(f"ocpp_url: {addresses.UNKNOWN} A server that runs says it too.")
        self.stdout.write(json.dumps({"tenant": tenant.slug, "ocpp_url": url, "api_key": api_key}))


def ocpp_url(tenant: Tenant) -> str | None:
    """What the tenant's charge points are given as URL; they append their identity. None when it is not known."""
    base = addresses.dial(SecurityProfile.BASIC)
    return None if base is None else f"{base}/ocpp/{tenant.slug}/"


def _sentence(error: ValidationError) -> str:
    if hasattr(error, "error_dict"):
        return " ".join(f"{field}: {' '.join(texts)}" for field, texts in error.message_dict.items())
    return " ".join(error.messages)
