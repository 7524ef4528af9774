from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models

from stations.models import file_exchange, firmware
from tenants.rls import EnableRowLevelSecurity


class Migration(migrations.Migration):
    dependencies = [("stations", "0004_charging_profiles"), ("tenants", "0001_tenants")]

    operations = [
        migrations.CreateModel(
            name="FirmwareImage",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(help_text="The file name that charge points see.", max_length=100)),
                ("vendor", models.CharField(blank=True, help_text="Empty: any.", max_length=50)),
                ("model", models.CharField(blank=True, help_text="Empty: any.", max_length=50)),
                ("version", models.CharField(blank=True, max_length=50)),
                ("description", models.CharField(blank=True, max_length=200)),
                ("file", models.FileField(max_length=200, upload_to=firmware.image_path)),
                ("size", models.BigIntegerField(editable=False)),
                ("sha256", models.CharField(editable=False, max_length=64)),
                ("signature", models.TextField(blank=True)),
                ("signing_certificate", models.TextField(blank=True)),
                ("created_by", models.CharField(editable=False, max_length=200)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
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
            name="FirmwareUpdate",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("version", models.CharField(blank=True, max_length=50)),
                ("location", models.TextField()),
                ("retrieve_date", models.DateTimeField(null=True)),
                ("retries", models.BigIntegerField(null=True)),
                ("retry_interval_seconds", models.BigIntegerField(null=True)),
                ("status", models.CharField(default="Requested", max_length=50)),
                ("status_at", models.DateTimeField(null=True)),
                ("created_at", models.DateTimeField()),
                ("answered_at", models.DateTimeField(null=True)),
                ("finished_at", models.DateTimeField(null=True)),
                (
                    "charge_point",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="firmware_updates",
                        to="stations.chargepoint",
                    ),
                ),
                (
                    "command",
                    models.OneToOneField(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="firmware_update",
                        to="stations.command",
                    ),
                ),
                (
                    "image",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="updates",
                        to="stations.firmwareimage",
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
            },
        ),
        migrations.CreateModel(
            name="FirmwareStatus",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("status", models.CharField(max_length=50)),
                ("received_at", models.DateTimeField()),
                (
                    "charge_point",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
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
                (
                    "update",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="statuses",
                        to="stations.firmwareupdate",
                    ),
                ),
            ],
            options={
                "ordering": ["id"],
                "abstract": False,
                "base_manager_name": "objects",
            },
        ),
        migrations.CreateModel(
            name="LogRequest",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("location", models.TextField()),
                ("to_us", models.BooleanField(default=False)),
                ("start_time", models.DateTimeField(null=True)),
                ("stop_time", models.DateTimeField(null=True)),
                ("retries", models.BigIntegerField(null=True)),
                ("retry_interval_seconds", models.BigIntegerField(null=True)),
                (
                    "file_name",
                    models.CharField(
                        blank=True, help_text="As the charge point named it in its answer.", max_length=255
                    ),
                ),
                ("status", models.CharField(default="Requested", max_length=50)),
                ("status_at", models.DateTimeField(null=True)),
                ("created_at", models.DateTimeField()),
                ("answered_at", models.DateTimeField(null=True)),
                ("finished_at", models.DateTimeField(null=True)),
                (
                    "charge_point",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="log_requests",
                        to="stations.chargepoint",
                    ),
                ),
                (
                    "command",
                    models.OneToOneField(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="log_request",
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
            ],
            options={
                "verbose_name": "request for diagnostics",
                "verbose_name_plural": "requests for diagnostics",
                "ordering": ["-id"],
                "abstract": False,
                "base_manager_name": "objects",
            },
        ),
        migrations.CreateModel(
            name="FileUrl",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("token_hash", models.CharField(max_length=64)),
                ("created_at", models.DateTimeField()),
                ("expires_at", models.DateTimeField()),
                ("closed_at", models.DateTimeField(null=True)),
                ("address", models.CharField(blank=True, max_length=64)),
                ("used_at", models.DateTimeField(null=True)),
                ("uses", models.IntegerField(default=0)),
                ("delivered_bytes", models.BigIntegerField(default=0)),
                (
                    "charge_point",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="file_urls", to="stations.chargepoint"
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
                    "firmware_update",
                    models.OneToOneField(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="url",
                        to="stations.firmwareupdate",
                    ),
                ),
                (
                    "log_request",
                    models.OneToOneField(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="url",
                        to="stations.logrequest",
                    ),
                ),
            ],
            options={
                "abstract": False,
                "base_manager_name": "objects",
            },
        ),
        migrations.CreateModel(
            name="DiagnosticsStatus",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("status", models.CharField(max_length=50)),
                ("received_at", models.DateTimeField()),
                (
                    "charge_point",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
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
                (
                    "request",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="statuses",
                        to="stations.logrequest",
                    ),
                ),
            ],
            options={
                "ordering": ["id"],
                "abstract": False,
                "base_manager_name": "objects",
            },
        ),
        migrations.CreateModel(
            name="UploadedFile",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("file", models.FileField(max_length=200, upload_to=file_exchange.upload_path)),
                ("name", models.CharField(max_length=255)),
                ("content_type", models.CharField(blank=True, max_length=100)),
                ("size", models.BigIntegerField()),
                ("sha256", models.CharField(max_length=64)),
                ("address", models.CharField(blank=True, max_length=64)),
                ("received_at", models.DateTimeField()),
                (
                    "charge_point",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="uploaded_files",
                        to="stations.chargepoint",
                    ),
                ),
                (
                    "log_request",
                    models.OneToOneField(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="upload",
                        to="stations.logrequest",
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
                "ordering": ["-id"],
                "abstract": False,
                "base_manager_name": "objects",
            },
        ),
        migrations.AddIndex(
            model_name="firmwareupdate",
            index=models.Index(fields=["tenant", "-id"], name="firmware_update_newest"),
        ),
        migrations.AddIndex(
            model_name="firmwareupdate",
            index=models.Index(fields=["charge_point", "-id"], name="firmware_update_of_station"),
        ),
        migrations.AddIndex(
            model_name="firmwarestatus",
            index=models.Index(fields=["tenant", "id"], name="firmware_status_of_tenant"),
        ),
        migrations.AddIndex(
            model_name="firmwarestatus",
            index=models.Index(fields=["charge_point", "-id"], name="firmware_status_newest"),
        ),
        migrations.AddIndex(
            model_name="logrequest",
            index=models.Index(fields=["tenant", "-id"], name="log_request_newest"),
        ),
        migrations.AddIndex(
            model_name="logrequest",
            index=models.Index(fields=["charge_point", "-id"], name="log_request_of_station"),
        ),
        migrations.AddConstraint(
            model_name="fileurl",
            constraint=models.UniqueConstraint(fields=("token_hash",), name="file_url_token_once"),
        ),
        migrations.AddConstraint(
            model_name="fileurl",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("firmware_update__isnull", True), ("log_request__isnull", False)),
                    models.Q(("firmware_update__isnull", False), ("log_request__isnull", True)),
                    _connector="OR",
                ),
                name="file_url_one_purpose",
            ),
        ),
        migrations.AddIndex(
            model_name="diagnosticsstatus",
            index=models.Index(fields=["tenant", "id"], name="diag_status_of_tenant"),
        ),
        migrations.AddIndex(
            model_name="diagnosticsstatus",
            index=models.Index(fields=["charge_point", "-id"], name="diag_status_newest"),
        ),
        EnableRowLevelSecurity("DiagnosticsStatus"),
        EnableRowLevelSecurity("FileUrl"),
        EnableRowLevelSecurity("FirmwareImage"),
        EnableRowLevelSecurity("FirmwareStatus"),
        EnableRowLevelSecurity("FirmwareUpdate"),
        EnableRowLevelSecurity("LogRequest"),
        EnableRowLevelSecurity("UploadedFile"),
    ]
