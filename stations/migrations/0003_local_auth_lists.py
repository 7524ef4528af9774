from __future__ import annotations

import django.core.validators
import django.db.models.deletion
from django.db import migrations, models

from tenants.rls import EnableRowLevelSecurity


class Migration(migrations.Migration):
    dependencies = [("stations", "0002_reservations"), ("tenants", "0001_tenants")]

    operations = [
        migrations.CreateModel(
            name="LocalAuthList",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "source",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("id_tags", "Id tags chosen by hand"),
                            ("groups", "Id tags of groups"),
                            ("sites", "Id tags allowed at sites"),
                        ],
                        max_length=10,
                    ),
                ),
                ("groups", models.JSONField(blank=True, default=list)),
                ("desired_at", models.DateTimeField(null=True)),
                (
                    "sync_automatically",
                    models.BooleanField(
                        default=False, help_text="Send the difference by itself when what is wanted changes."
                    ),
                ),
                ("installed_version", models.BigIntegerField(null=True)),
                ("installed_complete", models.BooleanField(default=False)),
                ("installed_at", models.DateTimeField(null=True)),
                ("installed_length", models.PositiveIntegerField(default=0)),
                ("installed_fingerprint", models.BigIntegerField(default=0)),
                ("reported_version", models.BigIntegerField(null=True)),
                ("reported_at", models.DateTimeField(null=True)),
                (
                    "highest_version",
                    models.BigIntegerField(default=0, validators=[django.core.validators.MinValueValidator(0)]),
                ),
                ("outcome", models.CharField(blank=True, max_length=50)),
                ("outcome_at", models.DateTimeField(null=True)),
                ("target_fingerprint", models.BigIntegerField(null=True)),
                (
                    "batch",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="stations.commandbatch",
                    ),
                ),
                (
                    "charge_point",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="local_auth_list",
                        to="stations.chargepoint",
                    ),
                ),
                (
                    "installed_by",
                    models.ForeignKey(
                        null=True, on_delete=django.db.models.deletion.SET_NULL, related_name="+", to="stations.command"
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
            options={
                "verbose_name": "local authorization list",
                "ordering": ["-id"],
                "abstract": False,
                "base_manager_name": "objects",
            },
        ),
        migrations.CreateModel(
            name="LocalAuthListEntry",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("id_tag", models.CharField(max_length=20)),
                ("key", models.CharField(max_length=60)),
                ("info", models.JSONField()),
                ("fingerprint", models.BigIntegerField()),
                (
                    "local_auth_list",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="entries",
                        to="stations.localauthlist",
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
                "verbose_name_plural": "local auth list entries",
                "ordering": ["local_auth_list", "key"],
                "abstract": False,
                "base_manager_name": "objects",
                "constraints": [
                    models.UniqueConstraint(fields=("local_auth_list", "key"), name="local_auth_list_entry_once")
                ],
            },
        ),
        migrations.CreateModel(
            name="LocalAuthListIdTag",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("id_tag", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="stations.idtag")),
                (
                    "local_auth_list",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="chosen",
                        to="stations.localauthlist",
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
                "abstract": False,
                "base_manager_name": "objects",
                "constraints": [
                    models.UniqueConstraint(fields=("local_auth_list", "id_tag"), name="local_auth_list_id_tag_once")
                ],
            },
        ),
        migrations.CreateModel(
            name="LocalAuthListSite",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "local_auth_list",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="sites",
                        to="stations.localauthlist",
                    ),
                ),
                ("site", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to="tenants.site")),
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
                "verbose_name_plural": "local authorization lists",
                "abstract": False,
                "base_manager_name": "objects",
                "constraints": [
                    models.UniqueConstraint(fields=("local_auth_list", "site"), name="local_auth_list_site_once")
                ],
            },
        ),
        EnableRowLevelSecurity("LocalAuthList"),
        EnableRowLevelSecurity("LocalAuthListEntry"),
        EnableRowLevelSecurity("LocalAuthListIdTag"),
        EnableRowLevelSecurity("LocalAuthListSite"),
    ]
