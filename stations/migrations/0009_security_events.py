from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models

from tenants.rls import EnableRowLevelSecurity


class Migration(migrations.Migration):
    dependencies = [("stations", "0008_credentials"), ("tenants", "0001_tenants")]

    operations = [
        migrations.AddField(model_name="firmwareupdate", name="install_date", field=models.DateTimeField(null=True)),
        migrations.AddField(model_name="firmwareupdate", name="request_id", field=models.BigIntegerField(null=True)),
        migrations.AddField(model_name="firmwareupdate", name="signature", field=models.TextField(blank=True)),
        migrations.AddField(model_name="firmwareupdate", name="signed", field=models.BooleanField(default=False)),
        migrations.AddField(
            model_name="firmwareupdate", name="signing_certificate", field=models.TextField(blank=True)
        ),
        migrations.AddField(
            model_name="logrequest", name="log_type", field=models.CharField(blank=True, max_length=20)
        ),
        migrations.AddField(model_name="logrequest", name="request_id", field=models.BigIntegerField(null=True)),
        migrations.CreateModel(
            name="RequestNumber",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("last", models.IntegerField(default=0)),
                (
                    "charge_point",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="stations.chargepoint"
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenants.tenant",
                    ),
                ),
            ],
            options={"abstract": False, "base_manager_name": "objects"},
        ),
        migrations.CreateModel(
            name="SecurityEvent",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "source",
                    models.CharField(
                        choices=[("charge_point", "charge point"), ("csms", "central system")], max_length=12
                    ),
                ),
                ("type", models.TextField()),
                ("tech_info", models.TextField(blank=True)),
                ("critical", models.BooleanField()),
                ("timestamp", models.DateTimeField()),
                ("received_at", models.DateTimeField()),
                ("identity", models.CharField(blank=True, max_length=255)),
                ("address", models.CharField(blank=True, max_length=64)),
                ("times", models.IntegerField(default=1)),
                ("last_at", models.DateTimeField()),
                ("acknowledged_at", models.DateTimeField(null=True)),
                ("acknowledged_by", models.CharField(blank=True, max_length=200)),
                ("digest", models.CharField(max_length=32)),
                (
                    "charge_point",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="security_events",
                        to="stations.chargepoint",
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
            ],
            options={
                "ordering": ["-id"],
                "abstract": False,
                "base_manager_name": "objects",
                "indexes": [
                    models.Index(fields=["tenant", "-id"], name="security_event_newest"),
                    models.Index(fields=["charge_point", "-id"], name="security_event_of_station"),
                    models.Index(
                        condition=models.Q(("acknowledged_at__isnull", True), ("critical", True)),
                        fields=["tenant", "-id"],
                        name="security_event_alerts",
                    ),
                    models.Index(
                        condition=models.Q(("acknowledged_at__isnull", True), ("critical", True)),
                        fields=["charge_point", "-id"],
                        name="security_event_alerts_of",
                    ),
                ],
                "constraints": [models.UniqueConstraint(fields=("tenant", "digest"), name="security_event_once")],
            },
        ),
        EnableRowLevelSecurity("RequestNumber"),
        EnableRowLevelSecurity("SecurityEvent"),
    ]
