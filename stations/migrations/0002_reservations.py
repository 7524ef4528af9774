from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models

from tenants.rls import EnableRowLevelSecurity


class Migration(migrations.Migration):
    dependencies = [("stations", "0001_charge_points"), ("tenants", "0001_tenants")]

    operations = [
        migrations.AddField(
            model_name="chargepoint",
            name="reserved_until",
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.CreateModel(
            name="Reservation",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("reservation_id", models.IntegerField()),
                ("connector_id", models.IntegerField()),
                ("id_tag", models.CharField(max_length=20)),
                ("id_tag_key", models.CharField(editable=False, max_length=60)),
                ("parent_id_tag", models.CharField(blank=True, max_length=20)),
                ("expiry_date", models.DateTimeField()),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("Requested", "Requested"),
                            ("Accepted", "Accepted"),
                            ("Faulted", "Faulted"),
                            ("Occupied", "Occupied"),
                            ("Rejected", "Rejected"),
                            ("Unavailable", "Unavailable"),
                            ("Cancelled", "Cancelled"),
                            ("Expired", "Expired"),
                            ("Used", "Used"),
                        ],
                        default="Requested",
                        max_length=11,
                    ),
                ),
                (
                    "end_reason",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("refused", "The charge point refused it"),
                            ("call_error", "The charge point answered ReserveNow with an error"),
                            ("not_sent", "The charge point did not connect in time; ReserveNow was never sent"),
                            ("withdrawn", "ReserveNow was withdrawn before it was sent"),
                            ("used", "A transaction was started under it"),
                            ("expired", "Its time is over"),
                            ("cancelled", "It was cancelled"),
                            ("cancel_rejected", "The charge point refused to cancel it: it has no such reservation"),
                            ("out_of_service", "The connector went out of service"),
                        ],
                        max_length=20,
                    ),
                ),
                ("requested_by", models.CharField(max_length=200)),
                ("requested_at", models.DateTimeField()),
                ("accepted_at", models.DateTimeField(null=True)),
                ("ended_at", models.DateTimeField(null=True)),
                ("replaced", models.JSONField(editable=False, null=True)),
                (
                    "cancel_command",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="stations.command",
                    ),
                ),
                (
                    "charge_point",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="reservations",
                        to="stations.chargepoint",
                    ),
                ),
                (
                    "command",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="reservations",
                        to="stations.command",
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        db_index=False,
                        editable=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenants.tenant",
                    ),
                ),
                (
                    "transaction",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="reservations",
                        to="stations.transaction",
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
                "abstract": False,
                "base_manager_name": "objects",
                "indexes": [
                    models.Index(fields=["charge_point", "-id"], name="reservation_newest_of_station"),
                    models.Index(fields=["tenant", "-id"], name="reservation_newest_of_tenant"),
                    models.Index(fields=["tenant", "reservation_id"], name="reservation_by_number"),
                    models.Index(fields=["tenant", "id_tag_key", "-id"], name="reservation_by_id_tag"),
                    models.Index(
                        condition=models.Q(("status__in", ["Requested", "Accepted"])),
                        fields=["expiry_date"],
                        name="reservation_expiry",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("charge_point", "reservation_id"), name="reservation_id_per_charge_point"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="ReservationNumber",
            fields=[
                ("id", models.AutoField(primary_key=True, serialize=False)),
                (
                    "tenant",
                    models.ForeignKey(
                        db_index=False,
                        editable=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenants.tenant",
                    ),
                ),
            ],
            options={
                "abstract": False,
                "base_manager_name": "objects",
                "indexes": [models.Index(fields=["tenant", "id"], name="reservation_number_of_tenant")],
            },
        ),
        EnableRowLevelSecurity("Reservation"),
        EnableRowLevelSecurity("ReservationNumber"),
    ]
