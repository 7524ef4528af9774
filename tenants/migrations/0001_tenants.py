from decimal import Decimal

import django.core.serializers.json
import django.core.validators
import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

import tenants.models.api_key
import tenants.validators
from tenants.rls import EnableRowLevelSecurity


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Tenant",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "slug",
                    models.CharField(
                        help_text="Part of the charge points' URL.",
                        max_length=63,
                        unique=True,
                        validators=[tenants.validators.validate_slug],
                    ),
                ),
                ("name", models.CharField(max_length=200)),
                (
                    "currency",
                    models.CharField(
                        default="EUR",
                        help_text="ISO 4217.",
                        max_length=3,
                        validators=[tenants.validators.validate_currency],
                    ),
                ),
                (
                    "time_zone",
                    models.CharField(
                        default="UTC",
                        help_text="IANA name.",
                        max_length=64,
                        validators=[tenants.validators.validate_time_zone],
                    ),
                ),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                (
                    "suspended_at",
                    models.DateTimeField(
                        blank=True, help_text="Keeps data and sockets, sends no commands, changes nothing.", null=True
                    ),
                ),
                (
                    "unknown_charge_points",
                    models.CharField(
                        choices=[
                            ("refuse", "Refuse the connection (404)"),
                            ("pending", "Register it and answer Pending"),
                            ("rejected", "Register it and answer Rejected"),
                        ],
                        default="refuse",
                        max_length=8,
                    ),
                ),
                (
                    "allow_security_profile_0",
                    models.BooleanField(default=False, help_text="No password at all; for trusted networks only."),
                ),
                ("allow_security_profile_1", models.BooleanField(default=True, help_text="HTTP Basic without TLS.")),
                (
                    "concurrent_tx_enabled",
                    models.BooleanField(
                        default=False,
                        help_text="Answer ConcurrentTx when an idTag starts while another transaction of it runs.",
                    ),
                ),
                (
                    "heartbeat_interval_seconds",
                    models.PositiveIntegerField(default=300, validators=[django.core.validators.MinValueValidator(1)]),
                ),
                (
                    "pending_interval_seconds",
                    models.PositiveIntegerField(
                        default=60,
                        help_text="Until the next BootNotification while Pending or Rejected.",
                        validators=[django.core.validators.MinValueValidator(1)],
                    ),
                ),
                (
                    "message_retention_days",
                    models.PositiveIntegerField(default=90, help_text="0 keeps messages for ever."),
                ),
                (
                    "meter_value_retention_days",
                    models.PositiveIntegerField(default=0, help_text="0 keeps meter values for ever."),
                ),
                ("max_charge_points", models.PositiveIntegerField(blank=True, help_text="Empty: no limit.", null=True)),
            ],
            options={
                "ordering": ["slug"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("heartbeat_interval_seconds__gt", 0)),
                        name="tenant_heartbeat_interval_positive",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("pending_interval_seconds__gt", 0)), name="tenant_pending_interval_positive"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Site",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "tenant",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenants.tenant",
                    ),
                ),
                ("name", models.CharField(max_length=200)),
                ("slug", models.CharField(max_length=63, validators=[tenants.validators.validate_slug])),
                ("address", models.TextField(blank=True)),
                (
                    "time_zone",
                    models.CharField(
                        blank=True,
                        help_text="Empty: the tenant's time zone.",
                        max_length=64,
                        validators=[tenants.validators.validate_time_zone],
                    ),
                ),
                (
                    "latitude",
                    models.DecimalField(
                        blank=True,
                        decimal_places=6,
                        help_text="Degrees north, WGS 84.",
                        max_digits=8,
                        null=True,
                        validators=[
                            django.core.validators.MinValueValidator(Decimal("-90")),
                            django.core.validators.MaxValueValidator(Decimal("90")),
                        ],
                    ),
                ),
                (
                    "longitude",
                    models.DecimalField(
                        blank=True,
                        decimal_places=6,
                        help_text="Degrees east, WGS 84.",
                        max_digits=9,
                        null=True,
                        validators=[
                            django.core.validators.MinValueValidator(Decimal("-180")),
                            django.core.validators.MaxValueValidator(Decimal("180")),
                        ],
                    ),
                ),
            ],
            options={
                "ordering": ["name", "pk"],
                "base_manager_name": "objects",
                "constraints": [models.UniqueConstraint(fields=("tenant", "slug"), name="site_slug_unique")],
            },
        ),
        migrations.CreateModel(
            name="Membership",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
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
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
                (
                    "role",
                    models.CharField(
                        choices=[
                            ("owner", "Owner"),
                            ("admin", "Administrator"),
                            ("operator", "Operator"),
                            ("billing", "Billing"),
                            ("viewer", "Viewer"),
                        ],
                        default="viewer",
                        max_length=8,
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "ordering": ["pk"],
                "base_manager_name": "objects",
                "constraints": [models.UniqueConstraint(fields=("tenant", "user"), name="membership_user_unique")],
            },
        ),
        migrations.CreateModel(
            name="MembershipSite",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
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
                    "membership",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="tenants.membership"
                    ),
                ),
                (
                    "site",
                    models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="+", to="tenants.site"),
                ),
            ],
            options={
                "base_manager_name": "objects",
                "constraints": [models.UniqueConstraint(fields=("membership", "site"), name="membership_site_unique")],
            },
        ),
        migrations.AddField(
            model_name="membership",
            name="sites",
            field=models.ManyToManyField(
                blank=True, related_name="memberships", through="tenants.MembershipSite", to="tenants.site"
            ),
        ),
        migrations.CreateModel(
            name="ApiKey",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "tenant",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenants.tenant",
                    ),
                ),
                ("name", models.CharField(max_length=200)),
                ("prefix", models.CharField(editable=False, max_length=12, unique=True)),
                ("salt", models.BinaryField(max_length=16)),
                ("secret_hash", models.BinaryField(max_length=32)),
                ("scopes", models.JSONField(default=list, validators=[tenants.models.api_key.validate_scopes])),
                ("expires_at", models.DateTimeField(blank=True, null=True)),
                ("revoked_at", models.DateTimeField(blank=True, editable=False, null=True)),
                ("last_used_at", models.DateTimeField(blank=True, editable=False, null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "created_by",
                    models.ForeignKey(
                        blank=True,
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "verbose_name": "API key",
                "ordering": ["-pk"],
                "base_manager_name": "objects",
            },
        ),
        migrations.CreateModel(
            name="ApiKeySite",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
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
                    "api_key",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="tenants.apikey"
                    ),
                ),
                (
                    "site",
                    models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="+", to="tenants.site"),
                ),
            ],
            options={
                "base_manager_name": "objects",
                "constraints": [models.UniqueConstraint(fields=("api_key", "site"), name="api_key_site_unique")],
            },
        ),
        migrations.AddField(
            model_name="apikey",
            name="sites",
            field=models.ManyToManyField(
                blank=True, related_name="api_keys", through="tenants.ApiKeySite", to="tenants.site"
            ),
        ),
        migrations.CreateModel(
            name="IdempotencyRecord",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
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
                    "api_key",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="tenants.apikey",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                ("key", models.CharField(max_length=255)),
                ("method", models.CharField(max_length=8)),
                ("path", models.CharField(max_length=2000)),
                ("body_digest", models.CharField(help_text="SHA-256 of the request body, hexadecimal.", max_length=64)),
                (
                    "state",
                    models.CharField(
                        choices=[("running", "Running"), ("done", "Done")], default="running", max_length=7
                    ),
                ),
                ("response_status", models.PositiveSmallIntegerField(blank=True, null=True)),
                ("response_headers", models.JSONField(blank=True, default=dict)),
                ("response_body", models.BinaryField(blank=True, null=True)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("expires_at", models.DateTimeField(db_index=True)),
            ],
            options={
                "ordering": ["-pk"],
                "base_manager_name": "objects",
                "constraints": [
                    models.UniqueConstraint(fields=("api_key", "key"), name="idempotency_key_of_api_key_unique"),
                    models.UniqueConstraint(fields=("tenant", "user", "key"), name="idempotency_key_of_user_unique"),
                    models.CheckConstraint(
                        condition=models.Q(("api_key__isnull", True), ("user__isnull", True), _connector="XOR"),
                        name="idempotency_record_one_owner",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="JobRun",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
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
                ("task_name", models.CharField(max_length=200)),
                ("task_id", models.CharField(max_length=64, unique=True)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("queued", "Queued"),
                            ("running", "Running"),
                            ("succeeded", "Succeeded"),
                            ("failed", "Failed"),
                        ],
                        default="queued",
                        max_length=9,
                    ),
                ),
                ("progress", models.PositiveSmallIntegerField(default=0, help_text="Percent, 0 to 100.")),
                ("error", models.TextField(blank=True)),
                (
                    "result",
                    models.JSONField(blank=True, encoder=django.core.serializers.json.DjangoJSONEncoder, null=True),
                ),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("started_at", models.DateTimeField(blank=True, null=True)),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "ordering": ["-pk"],
                "base_manager_name": "objects",
                "indexes": [models.Index(fields=["tenant", "task_name", "-id"], name="job_run_latest")],
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("progress__lte", 100)), name="job_run_progress_percent")
                ],
            },
        ),
        migrations.CreateModel(
            name="AuditEntry",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
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
                ("actor", models.CharField(max_length=200)),
                (
                    "user",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                ("action", models.CharField(max_length=64)),
                ("object_type", models.CharField(blank=True, help_text='As "app.model".', max_length=100)),
                ("object_id", models.CharField(blank=True, max_length=64)),
                ("object_label", models.CharField(blank=True, max_length=200)),
                (
                    "changes",
                    models.JSONField(
                        blank=True,
                        default=dict,
                        encoder=django.core.serializers.json.DjangoJSONEncoder,
                        help_text="Field: [before, after].",
                    ),
                ),
                ("address", models.GenericIPAddressField(blank=True, null=True)),
                ("at", models.DateTimeField(default=django.utils.timezone.now)),
            ],
            options={
                "verbose_name_plural": "audit entries",
                "ordering": ["-pk"],
                "base_manager_name": "objects",
                "indexes": [
                    models.Index(fields=["tenant", "-id"], name="audit_entry_newest"),
                    models.Index(fields=["tenant", "object_type", "object_id"], name="audit_entry_object"),
                ],
            },
        ),
        EnableRowLevelSecurity("Site"),
        EnableRowLevelSecurity("Membership"),
        EnableRowLevelSecurity("MembershipSite"),
        EnableRowLevelSecurity("ApiKey"),
        EnableRowLevelSecurity("ApiKeySite"),
        EnableRowLevelSecurity("IdempotencyRecord"),
        EnableRowLevelSecurity("JobRun"),
        EnableRowLevelSecurity("AuditEntry"),
    ]
