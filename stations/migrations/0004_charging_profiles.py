import django.db.models.deletion
from django.db import migrations, models

from tenants.rls import EnableRowLevelSecurity


class Migration(migrations.Migration):
    dependencies = [
        ("stations", "0003_local_auth_lists"),
        ("tenants", "0001_tenants"),
    ]

    operations = [
        migrations.CreateModel(
            name="ChargingProfile",
            fields=[
                ("id", models.AutoField(primary_key=True, serialize=False)),
                ("description", models.CharField(blank=True, max_length=200)),
                ("profile", models.JSONField()),
                ("requested_by", models.CharField(blank=True, max_length=200)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
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
            options={
                "ordering": ["-id"],
                "abstract": False,
                "base_manager_name": "objects",
            },
        ),
        migrations.CreateModel(
            name="InstalledProfile",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("connector_id", models.IntegerField()),
                ("charging_profile_id", models.IntegerField()),
                ("profile", models.JSONField()),
                (
                    "purpose",
                    models.CharField(
                        choices=[
                            ("ChargePointMaxProfile", "Charge Point Max Profile"),
                            ("TxDefaultProfile", "Tx Default Profile"),
                            ("TxProfile", "Tx Profile"),
                        ],
                        max_length=30,
                    ),
                ),
                ("stack_level", models.IntegerField()),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("believed", "Believed: the charge point accepted it"),
                            ("confirmed", "Confirmed: seen in a composite schedule of the charge point"),
                        ],
                        default="believed",
                        max_length=10,
                    ),
                ),
                ("installed_at", models.DateTimeField()),
                ("confirmed_at", models.DateTimeField(blank=True, null=True)),
                (
                    "charge_point",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="installed_profiles",
                        to="stations.chargepoint",
                    ),
                ),
                (
                    "command",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="installed_profiles",
                        to="stations.command",
                    ),
                ),
                (
                    "library",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="installed",
                        to="stations.chargingprofile",
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
                (
                    "transaction",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="installed_profiles",
                        to="stations.transaction",
                    ),
                ),
            ],
            options={
                "ordering": ["connector_id", "purpose", "-stack_level"],
                "abstract": False,
                "base_manager_name": "objects",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("charge_point", "charging_profile_id"), name="installed_profile_id_once"
                    ),
                    models.UniqueConstraint(
                        fields=("charge_point", "connector_id", "purpose", "stack_level"),
                        name="installed_profile_level_once",
                    ),
                ],
            },
        ),
        EnableRowLevelSecurity("ChargingProfile"),
        EnableRowLevelSecurity("InstalledProfile"),
    ]
