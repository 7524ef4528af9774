import django.core.validators
import django.db.models.deletion
from django.db import migrations, models

import stations.models.charge_point
import stations.models.id_tag
from tenants.rls import EnableRowLevelSecurity


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("tenants", "0001_tenants"),
    ]

    operations = [
        migrations.CreateModel(
            name="ServerProcess",
            fields=[
                ("id", models.CharField(max_length=36, primary_key=True, serialize=False)),
                ("host", models.CharField(max_length=255)),
                ("pid", models.IntegerField()),
                ("started_at", models.DateTimeField()),
                ("alive_at", models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name="ChargePoint",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "identity",
                    models.CharField(max_length=48, validators=[stations.models.charge_point.validate_identity]),
                ),
                ("description", models.CharField(blank=True, max_length=200)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                (
                    "registration_status",
                    models.CharField(
                        choices=[("Accepted", "Accepted"), ("Pending", "Pending"), ("Rejected", "Rejected")],
                        default="Accepted",
                        max_length=8,
                    ),
                ),
                (
                    "disabled",
                    models.BooleanField(default=False, help_text="Refuse every connection of this charge point."),
                ),
                (
                    "security_profile",
                    models.PositiveSmallIntegerField(
                        choices=[
                            (0, "0: no authentication"),
                            (1, "1: password"),
                            (2, "2: TLS and password"),
                            (3, "3: TLS with client certificates"),
                        ],
                        default=1,
                    ),
                ),
                (
                    "pending_security_profile",
                    models.PositiveSmallIntegerField(
                        blank=True,
                        choices=[
                            (0, "0: no authentication"),
                            (1, "1: password"),
                            (2, "2: TLS and password"),
                            (3, "3: TLS with client certificates"),
                        ],
                        editable=False,
                        null=True,
                    ),
                ),
                ("password_hash", models.CharField(blank=True, editable=False, max_length=255)),
                ("pending_password_hash", models.CharField(blank=True, editable=False, max_length=255)),
                (
                    "serial_number",
                    models.CharField(
                        blank=True,
                        help_text="Expected in the client certificate's CN; empty means the identity.",
                        max_length=64,
                    ),
                ),
                (
                    "strict",
                    models.BooleanField(
                        default=False, help_text="Refuse every deviation from the schemas of OCPP 1.6."
                    ),
                ),
                (
                    "assume_ocpp16",
                    models.BooleanField(
                        default=False,
                        help_text="Connect even when no subprotocol is offered (some firmware leaves the header out).",
                    ),
                ),
                (
                    "accept_hexadecimal_password",
                    models.BooleanField(
                        default=True,
                        help_text="Also accept the password sent as hexadecimal text instead of its bytes.",
                    ),
                ),
                (
                    "accept_any_id_tag",
                    models.BooleanField(
                        default=False, help_text="Free charging: every id tag, known or not, is accepted here."
                    ),
                ),
                (
                    "send_milliseconds",
                    models.BooleanField(default=True, help_text="Send times with three fractional digits."),
                ),
                (
                    "time_zone",
                    models.CharField(
                        blank=True,
                        help_text="For times sent without a zone; else UTC.",
                        max_length=64,
                        validators=[stations.models.charge_point.validate_time_zone],
                    ),
                ),
                (
                    "heartbeat_interval_seconds",
                    models.PositiveIntegerField(
                        blank=True,
                        null=True,
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(86400),
                        ],
                    ),
                ),
                (
                    "call_timeout_seconds",
                    models.PositiveIntegerField(
                        blank=True,
                        null=True,
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(600),
                        ],
                    ),
                ),
                ("vendor", models.TextField(blank=True, editable=False)),
                ("model", models.TextField(blank=True, editable=False)),
                ("firmware_version", models.TextField(blank=True, editable=False)),
                ("charge_point_serial_number", models.TextField(blank=True, editable=False)),
                ("charge_box_serial_number", models.TextField(blank=True, editable=False)),
                ("iccid", models.TextField(blank=True, editable=False)),
                ("imsi", models.TextField(blank=True, editable=False)),
                ("meter_type", models.TextField(blank=True, editable=False)),
                ("meter_serial_number", models.TextField(blank=True, editable=False)),
                ("booted_at", models.DateTimeField(editable=False, null=True)),
                ("connection_generation", models.BigIntegerField(default=0, editable=False)),
                ("connection_owner", models.CharField(blank=True, editable=False, max_length=36)),
                ("connected", models.BooleanField(default=False, editable=False)),
                ("connected_at", models.DateTimeField(editable=False, null=True)),
                ("disconnected_at", models.DateTimeField(editable=False, null=True)),
                ("last_seen_at", models.DateTimeField(editable=False, null=True)),
                ("remote_address", models.CharField(blank=True, editable=False, max_length=64)),
                ("deviations", models.JSONField(default=dict, editable=False)),
                (
                    "site",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="charge_points",
                        to="tenants.site",
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
                "ordering": ["identity"],
                "abstract": False,
                "base_manager_name": "objects",
            },
        ),
        migrations.CreateModel(
            name="Boot",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("at", models.DateTimeField()),
                ("payload", models.JSONField()),
                (
                    "status",
                    models.CharField(
                        choices=[("Accepted", "Accepted"), ("Pending", "Pending"), ("Rejected", "Rejected")],
                        max_length=8,
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
                    "charge_point",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="boots",
                        to="stations.chargepoint",
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
            name="CommandBatch",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("action", models.CharField(max_length=50)),
                ("requested_by", models.CharField(max_length=200)),
                ("created_at", models.DateTimeField()),
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
            name="Command",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("action", models.CharField(max_length=50)),
                ("payload", models.JSONField()),
                ("requested_by", models.CharField(max_length=200)),
                ("reason", models.CharField(blank=True, max_length=500)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("queued", "Queued"),
                            ("sent", "Sent"),
                            ("answered", "Answered"),
                            ("error", "Error"),
                            ("timed_out", "Timed Out"),
                            ("expired", "Expired"),
                            ("withdrawn", "Withdrawn"),
                            ("unknown", "Unknown"),
                        ],
                        default="queued",
                        max_length=10,
                    ),
                ),
                ("message_id", models.CharField(blank=True, max_length=36)),
                ("connection_generation", models.BigIntegerField(null=True)),
                ("warnings", models.JSONField(default=list)),
                ("response", models.JSONField(null=True)),
                ("error", models.JSONField(null=True)),
                ("effect", models.JSONField(null=True)),
                ("created_at", models.DateTimeField()),
                ("expires_at", models.DateTimeField()),
                ("sent_at", models.DateTimeField(null=True)),
                ("answered_at", models.DateTimeField(null=True)),
                (
                    "charge_point",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="commands",
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
                    "batch",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="commands",
                        to="stations.commandbatch",
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
            name="ConfigurationKey",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("key", models.CharField(max_length=255)),
                ("value", models.TextField(null=True)),
                ("readonly", models.BooleanField(null=True)),
                (
                    "known",
                    models.BooleanField(default=True, help_text="False when the charge point named it in unknownKey."),
                ),
                ("reported_at", models.DateTimeField(null=True)),
                ("desired_value", models.TextField(null=True)),
                ("desired_at", models.DateTimeField(null=True)),
                ("reboot_required", models.BooleanField(default=False)),
                (
                    "charge_point",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="configuration",
                        to="stations.chargepoint",
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
                "ordering": ["key"],
                "abstract": False,
                "base_manager_name": "objects",
            },
        ),
        migrations.CreateModel(
            name="ConnectionAttempt",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("identity", models.CharField(max_length=255)),
                ("at", models.DateTimeField()),
                ("address", models.CharField(blank=True, max_length=64)),
                ("accepted", models.BooleanField()),
                ("http_status", models.PositiveSmallIntegerField()),
                ("reason", models.CharField(blank=True, max_length=50)),
                ("remedy", models.TextField(blank=True)),
                ("security_profile", models.PositiveSmallIntegerField(null=True)),
                ("subprotocols", models.CharField(blank=True, max_length=255)),
                ("user_agent", models.CharField(blank=True, max_length=255)),
                ("tls_version", models.CharField(blank=True, max_length=20)),
                ("tls_cipher", models.CharField(blank=True, max_length=80)),
                ("client_certificate", models.TextField(blank=True)),
                (
                    "charge_point",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="connection_attempts",
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
            },
        ),
        migrations.CreateModel(
            name="Connector",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("connector_id", models.IntegerField()),
                ("status", models.TextField(blank=True)),
                ("error_code", models.TextField(blank=True)),
                ("info", models.TextField(blank=True)),
                ("vendor_id", models.TextField(blank=True)),
                ("vendor_error_code", models.TextField(blank=True)),
                ("status_at", models.DateTimeField(null=True)),
                ("status_received_at", models.DateTimeField(null=True)),
                (
                    "charge_point",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="connectors",
                        to="stations.chargepoint",
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
                "ordering": ["charge_point", "connector_id"],
                "abstract": False,
                "base_manager_name": "objects",
            },
        ),
        migrations.CreateModel(
            name="ConnectorStatus",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("connector_id", models.IntegerField()),
                ("status", models.TextField(blank=True)),
                ("error_code", models.TextField(blank=True)),
                ("info", models.TextField(blank=True)),
                ("vendor_id", models.TextField(blank=True)),
                ("vendor_error_code", models.TextField(blank=True)),
                ("at", models.DateTimeField()),
                ("received_at", models.DateTimeField()),
                (
                    "charge_point",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="status_history",
                        to="stations.chargepoint",
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        editable=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenants.tenant",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "connector statuses",
                "ordering": ["-id"],
                "abstract": False,
                "base_manager_name": "objects",
            },
        ),
        migrations.CreateModel(
            name="IdTag",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("id_tag", models.CharField(max_length=20, validators=[stations.models.id_tag.validate_id_tag])),
                ("key", models.CharField(editable=False, max_length=60)),
                ("description", models.CharField(blank=True, max_length=200)),
                (
                    "driver",
                    models.CharField(
                        blank=True, help_text="Whose it is: a name or your own customer number.", max_length=200
                    ),
                ),
                ("parent_id_tag", models.CharField(blank=True, max_length=20)),
                (
                    "groups",
                    models.JSONField(
                        blank=True, default=list, help_text="Names of groups, for example for local lists."
                    ),
                ),
                ("expiry_date", models.DateTimeField(blank=True, null=True)),
                ("blocked", models.BooleanField(default=False)),
                ("max_active_transactions", models.PositiveIntegerField(blank=True, null=True)),
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
            name="IdTagSite",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("id_tag", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="stations.idtag")),
                ("site", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="tenants.site")),
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
                "abstract": False,
                "base_manager_name": "objects",
            },
        ),
        migrations.AddField(
            model_name="idtag",
            name="sites",
            field=models.ManyToManyField(
                blank=True,
                help_text="Empty means every site.",
                related_name="id_tags",
                through="stations.IdTagSite",
                to="tenants.site",
            ),
        ),
        migrations.CreateModel(
            name="OcppMessage",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("incoming", models.BooleanField()),
                (
                    "message_type",
                    models.PositiveSmallIntegerField(
                        choices=[(0, "not OCPP-J"), (2, "CALL"), (3, "CALLRESULT"), (4, "CALLERROR")]
                    ),
                ),
                ("action", models.CharField(blank=True, max_length=255)),
                ("message_id", models.CharField(blank=True, max_length=255)),
                ("payload", models.TextField()),
                ("received_at", models.DateTimeField()),
                ("latency_ms", models.FloatField(null=True)),
                ("error", models.TextField(blank=True)),
                (
                    "charge_point",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="messages",
                        to="stations.chargepoint",
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        editable=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenants.tenant",
                    ),
                ),
            ],
            options={
                "verbose_name": "OCPP message",
                "ordering": ["-id"],
                "abstract": False,
                "base_manager_name": "objects",
            },
        ),
        migrations.CreateModel(
            name="Transaction",
            fields=[
                ("id", models.AutoField(primary_key=True, serialize=False)),
                ("connector_id", models.IntegerField()),
                ("id_tag", models.CharField(blank=True, max_length=255)),
                ("id_tag_key", models.CharField(blank=True, editable=False, max_length=255)),
                ("id_tag_status", models.CharField(blank=True, max_length=20)),
                ("id_tag_expiry_date", models.DateTimeField(null=True)),
                ("parent_id_tag", models.CharField(blank=True, max_length=20)),
                ("reservation_id", models.BigIntegerField(null=True)),
                ("started_at", models.DateTimeField()),
                ("started_received_at", models.DateTimeField()),
                ("started_at_text", models.CharField(blank=True, max_length=255)),
                ("meter_start_wh", models.BigIntegerField()),
                ("stopped_at", models.DateTimeField(null=True)),
                ("stopped_received_at", models.DateTimeField(null=True)),
                ("meter_stop_wh", models.BigIntegerField(null=True)),
                ("energy_wh", models.DecimalField(decimal_places=3, max_digits=15, null=True)),
                ("stop_reason", models.CharField(blank=True, max_length=255)),
                ("stop_id_tag", models.CharField(blank=True, max_length=255)),
                ("stop_id_tag_status", models.CharField(blank=True, max_length=20)),
                ("stop_received", models.BooleanField(default=False)),
                ("flags", models.JSONField(default=list)),
                (
                    "orphan_ref",
                    models.TextField(blank=True, help_text="The transactionId of a stop that has no start, as sent."),
                ),
                (
                    "charge_point",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="transactions",
                        to="stations.chargepoint",
                    ),
                ),
                (
                    "id_tag_row",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="transactions",
                        to="stations.idtag",
                    ),
                ),
                (
                    "started_by_command",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="started_transactions",
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
                "ordering": ["-id"],
                "abstract": False,
                "base_manager_name": "objects",
            },
        ),
        migrations.CreateModel(
            name="MeterValue",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("connector_id", models.IntegerField()),
                ("transaction_ref", models.TextField(blank=True)),
                ("timestamp", models.DateTimeField()),
                ("received_at", models.DateTimeField()),
                ("energy_wh", models.DecimalField(decimal_places=3, max_digits=15, null=True)),
                ("power_w", models.FloatField(null=True)),
                ("soc_percent", models.FloatField(null=True)),
                ("sampled_value", models.JSONField()),
                ("digest", models.BigIntegerField()),
                (
                    "charge_point",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="meter_values",
                        to="stations.chargepoint",
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        db_constraint=False,
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
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="meter_values",
                        to="stations.transaction",
                    ),
                ),
            ],
            options={
                "ordering": ["-timestamp", "-id"],
                "abstract": False,
                "base_manager_name": "objects",
            },
        ),
        migrations.AddIndex(
            model_name="chargepoint",
            index=models.Index(
                condition=models.Q(("connected", True)), fields=["connection_owner"], name="charge_point_connected"
            ),
        ),
        migrations.AddConstraint(
            model_name="chargepoint",
            constraint=models.UniqueConstraint(fields=("tenant", "identity"), name="charge_point_identity_per_tenant"),
        ),
        migrations.AddIndex(
            model_name="boot",
            index=models.Index(fields=["charge_point", "-id"], name="boot_newest_first"),
        ),
        migrations.AddIndex(
            model_name="command",
            index=models.Index(fields=["charge_point", "-id"], name="command_newest_first"),
        ),
        migrations.AddIndex(
            model_name="command",
            index=models.Index(
                condition=models.Q(("status", "queued")), fields=["charge_point", "id"], name="command_queue"
            ),
        ),
        migrations.AddIndex(
            model_name="command",
            index=models.Index(condition=models.Q(("status", "queued")), fields=["expires_at"], name="command_expiry"),
        ),
        migrations.AddIndex(
            model_name="command",
            index=models.Index(fields=["tenant", "-id"], name="command_newest_of_tenant"),
        ),
        migrations.AddConstraint(
            model_name="command",
            constraint=models.UniqueConstraint(
                condition=models.Q(("status", "sent")), fields=("charge_point",), name="command_one_outstanding"
            ),
        ),
        migrations.AddConstraint(
            model_name="configurationkey",
            constraint=models.UniqueConstraint(fields=("charge_point", "key"), name="configuration_key_once"),
        ),
        migrations.AddIndex(
            model_name="connectionattempt",
            index=models.Index(fields=["tenant", "identity", "-id"], name="attempt_by_identity"),
        ),
        migrations.AddIndex(
            model_name="connectionattempt",
            index=models.Index(fields=["charge_point", "-id"], name="attempt_by_charge_point"),
        ),
        migrations.AddIndex(
            model_name="connectionattempt",
            index=models.Index(fields=["tenant", "-id"], name="attempt_newest_first"),
        ),
        migrations.AddConstraint(
            model_name="connector",
            constraint=models.UniqueConstraint(
                fields=("charge_point", "connector_id"), name="connector_per_charge_point"
            ),
        ),
        migrations.AddIndex(
            model_name="connectorstatus",
            index=models.Index(fields=["charge_point", "connector_id", "-at"], name="connector_status_newest_first"),
        ),
        migrations.AddConstraint(
            model_name="idtagsite",
            constraint=models.UniqueConstraint(fields=("id_tag", "site"), name="id_tag_site_once"),
        ),
        migrations.AddConstraint(
            model_name="idtag",
            constraint=models.UniqueConstraint(fields=("tenant", "key"), name="id_tag_per_tenant"),
        ),
        migrations.AddIndex(
            model_name="ocppmessage",
            index=models.Index(fields=["charge_point", "-id"], name="message_newest_first"),
        ),
        migrations.AddIndex(
            model_name="transaction",
            index=models.Index(fields=["charge_point", "-id"], name="transaction_newest_of_station"),
        ),
        migrations.AddIndex(
            model_name="transaction",
            index=models.Index(fields=["tenant", "-id"], name="transaction_newest_of_tenant"),
        ),
        migrations.AddIndex(
            model_name="transaction",
            index=models.Index(fields=["tenant", "id_tag_key", "-id"], name="transaction_by_id_tag"),
        ),
        migrations.AddIndex(
            model_name="transaction",
            index=models.Index(
                condition=models.Q(("stopped_at__isnull", True)),
                fields=["charge_point", "connector_id"],
                name="transaction_open",
            ),
        ),
        migrations.AddConstraint(
            model_name="transaction",
            constraint=models.UniqueConstraint(
                condition=models.Q(("orphan_ref", "")),
                fields=("charge_point", "connector_id", "id_tag", "started_at", "meter_start_wh"),
                name="transaction_start_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="transaction",
            constraint=models.UniqueConstraint(
                condition=models.Q(("orphan_ref", ""), _negated=True),
                fields=("charge_point", "orphan_ref", "stopped_at", "meter_stop_wh"),
                name="transaction_orphan_stop_once",
            ),
        ),
        migrations.AddIndex(
            model_name="metervalue",
            index=models.Index(fields=["transaction", "-timestamp"], name="meter_value_of_transaction"),
        ),
        migrations.AddConstraint(
            model_name="metervalue",
            constraint=models.UniqueConstraint(
                fields=("charge_point", "connector_id", "timestamp", "digest"), name="meter_value_once"
            ),
        ),
        EnableRowLevelSecurity("Boot"),
        EnableRowLevelSecurity("ChargePoint"),
        EnableRowLevelSecurity("Command"),
        EnableRowLevelSecurity("CommandBatch"),
        EnableRowLevelSecurity("ConfigurationKey"),
        EnableRowLevelSecurity("ConnectionAttempt"),
        EnableRowLevelSecurity("Connector"),
        EnableRowLevelSecurity("ConnectorStatus"),
        EnableRowLevelSecurity("IdTag"),
        EnableRowLevelSecurity("IdTagSite"),
        EnableRowLevelSecurity("MeterValue"),
        EnableRowLevelSecurity("OcppMessage"),
        EnableRowLevelSecurity("Transaction"),
    ]
