"""manage.py retention: what the scheduled jobs do about old rows and partitions, now, and printed."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from stations import retention
from tenants.models import Tenant
from tenants.scope import tenant_scope


class Command(BaseCommand):
    help = (
        "Make the partitions of the coming months, drop those past every tenant's retention, delete and thin old rows."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--dry-run", action="store_true", help="say what would be dropped and deleted; change nothing"
        )
        parser.add_argument("--tenant", metavar="SLUG", help="rows of this tenant only; partitions stay as they are")

    def handle(self, *args: Any, **options: Any) -> None:
        now, dry_run = datetime.now(UTC), options["dry_run"]
        tenants = Tenant.objects.order_by("slug")
        if options["tenant"]:
            tenants = tenants.filter(slug=options["tenant"])
            if not tenants:
                raise CommandError(f"There is no tenant {options['tenant']!r}.")
        else:
            for made in [] if dry_run else retention.prepare_partitions(now):
                self.stdout.write(f"made {made.name}, {made.moved} rows moved into it")
            for name in retention.drop_partitions(now, dry_run=dry_run):
                self.stdout.write(f"{'would drop' if dry_run else 'dropped'} {name}")
            for table, number in retention.purge_installation(now, dry_run=dry_run).items():
                self.stdout.write(f"installation: {number} {table} {'due' if dry_run else 'deleted'}")
        for tenant in tenants:
            with tenant_scope(tenant):
                deleted = retention.purge(tenant, now, dry_run=dry_run)
            for rows, number in deleted.items():
                self.stdout.write(f"{tenant.slug}: {number} {rows.replace('_', ' ')} {'due' if dry_run else 'deleted'}")
