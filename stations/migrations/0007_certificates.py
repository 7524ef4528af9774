from __future__ import annotations

import django.core.validators
import django.db.models.deletion
from django.db import migrations, models

from tenants.rls import EnableRowLevelSecurity


class Migration(migrations.Migration):
    dependencies = [("stations", "0006_meter_values_unchecked"), ("tenants", "0001_tenants")]

    operations = [
        migrations.CreateModel(
            name="CertificateAuthority",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("subject", models.CharField(blank=True, editable=False, max_length=500)),
                ("issuer", models.CharField(blank=True, editable=False, max_length=500)),
                ("serial_number", models.CharField(blank=True, editable=False, max_length=64)),
                (
                    "fingerprint",
                    models.CharField(blank=True, editable=False, max_length=64, verbose_name="SHA-256 fingerprint"),
                ),
                ("key", models.CharField(blank=True, editable=False, max_length=50)),
                ("not_before", models.DateTimeField(editable=False, null=True)),
                ("not_after", models.DateTimeField(editable=False, null=True)),
                ("name", models.CharField(max_length=100)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("issuing", "Signs here: the key is held by us"),
                            ("external", "Signs elsewhere: requests are exported, chains imported"),
                            ("trusted", "Trusted only: client certificates may lead to it"),
                        ],
                        max_length=8,
                    ),
                ),
                ("certificate", models.TextField(blank=True, help_text="PEM.")),
                ("name_and_key", models.CharField(editable=False, max_length=64)),
                (
                    "key_type",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("rsa_2048", "RSA, 2048 bits"),
                            ("rsa_3072", "RSA, 3072 bits"),
                            ("ec_p256", "Elliptic curve, P-256"),
                        ],
                        max_length=8,
                    ),
                ),
                (
                    "signature_scheme",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("pkcs1v15", "RSA, PKCS#1 v1.5 (every charge point reads it)"),
                            ("pss", "RSA-PSS (many charge points cannot read it)"),
                            ("ecdsa", "ECDSA"),
                        ],
                        max_length=8,
                    ),
                ),
                ("private_key", models.BinaryField(null=True)),
                (
                    "active",
                    models.BooleanField(
                        default=True, help_text="Off: no certificate of it lets a charge point in any more."
                    ),
                ),
                (
                    "signs_requests",
                    models.BooleanField(
                        default=False, help_text="Requests of charge points go to this one; at most one of a tenant."
                    ),
                ),
                (
                    "organization",
                    models.CharField(
                        blank=True, help_text="O of the certificates; empty: the name of the tenant.", max_length=64
                    ),
                ),
                (
                    "validity_days",
                    models.PositiveIntegerField(
                        default=365,
                        help_text="Of new certificates.",
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(3650),
                        ],
                    ),
                ),
                (
                    "check_common_name",
                    models.BooleanField(
                        default=True,
                        help_text="Sign only requests whose CN is the serial number expected of the charge point.",
                    ),
                ),
                (
                    "check_organization",
                    models.BooleanField(
                        default=False, help_text="Sign and accept only certificates whose O is the organization."
                    ),
                ),
                (
                    "renew_days_before",
                    models.PositiveIntegerField(
                        blank=True,
                        help_text="Ask charge points for a new request this many days before theirs expires. Empty: never by itself.",
                        null=True,
                        validators=[django.core.validators.MaxValueValidator(3650)],
                    ),
                ),
                ("crl_updated_at", models.DateTimeField(editable=False, null=True, verbose_name="list of")),
                ("crl_next_update", models.DateTimeField(editable=False, null=True, verbose_name="next list due")),
                ("created_by", models.CharField(editable=False, max_length=200)),
                ("created_at", models.DateTimeField(editable=False)),
                (
                    "parent",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="children",
                        to="stations.certificateauthority",
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
                "verbose_name_plural": "certificate authorities",
                "ordering": ["-id"],
                "abstract": False,
                "base_manager_name": "objects",
            },
        ),
        migrations.CreateModel(
            name="CertificateRequest",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("csr", models.TextField(help_text="PEM; as received when it could not be read.")),
                ("subject", models.CharField(blank=True, max_length=500)),
                ("key", models.CharField(blank=True, max_length=50)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("received", "About to be signed"),
                            ("waiting", "Waits for the signed chain of the external issuer"),
                            ("signed", "Signed"),
                            ("rejected", "Answered Rejected"),
                            ("replaced", "Replaced by a newer request"),
                            ("failed", "Could not be signed"),
                            ("closed", "Closed by the operator"),
                        ],
                        max_length=8,
                    ),
                ),
                ("problem", models.CharField(blank=True, max_length=500)),
                ("received_at", models.DateTimeField()),
                ("closed_at", models.DateTimeField(null=True)),
                (
                    "authority",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="requests",
                        to="stations.certificateauthority",
                    ),
                ),
                (
                    "charge_point",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="certificate_requests",
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
                "ordering": ["-id"],
                "abstract": False,
                "base_manager_name": "objects",
            },
        ),
        migrations.CreateModel(
            name="Certificate",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("subject", models.CharField(blank=True, editable=False, max_length=500)),
                ("issuer", models.CharField(blank=True, editable=False, max_length=500)),
                ("serial_number", models.CharField(blank=True, editable=False, max_length=64)),
                (
                    "fingerprint",
                    models.CharField(blank=True, editable=False, max_length=64, verbose_name="SHA-256 fingerprint"),
                ),
                ("key", models.CharField(blank=True, editable=False, max_length=50)),
                ("not_before", models.DateTimeField(editable=False, null=True)),
                ("not_after", models.DateTimeField(editable=False, null=True)),
                (
                    "origin",
                    models.CharField(
                        choices=[
                            ("issued", "Signed here"),
                            ("imported", "Signed elsewhere"),
                            ("presented", "Shown by the charge point"),
                        ],
                        max_length=9,
                    ),
                ),
                ("chain", models.TextField()),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("issued", "Issued"),
                            ("sent", "Sent"),
                            ("accepted", "Accepted"),
                            ("rejected", "Rejected"),
                            ("in_use", "In use"),
                            ("revoked", "Revoked"),
                        ],
                        default="issued",
                        max_length=8,
                    ),
                ),
                ("created_at", models.DateTimeField()),
                ("sent_at", models.DateTimeField(null=True)),
                ("answered_at", models.DateTimeField(null=True)),
                ("first_used_at", models.DateTimeField(null=True)),
                ("last_used_at", models.DateTimeField(null=True)),
                ("revoked_at", models.DateTimeField(null=True)),
                ("revoked_by", models.CharField(blank=True, max_length=200)),
                ("reason", models.CharField(blank=True, help_text="Why it was revoked.", max_length=500)),
                (
                    "charge_point",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="certificates",
                        to="stations.chargepoint",
                    ),
                ),
                (
                    "command",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="certificates",
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
                    "authority",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="certificates",
                        to="stations.certificateauthority",
                    ),
                ),
                (
                    "request",
                    models.OneToOneField(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="certificate",
                        to="stations.certificaterequest",
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
            name="CertificateRevocation",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("serial_number", models.CharField(help_text="Hexadecimal.", max_length=64)),
                ("revoked_at", models.DateTimeField()),
                (
                    "authority",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="revocations",
                        to="stations.certificateauthority",
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
                "abstract": False,
                "base_manager_name": "objects",
            },
        ),
        migrations.CreateModel(
            name="InstalledCertificate",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "certificate_type",
                    models.CharField(
                        choices=[
                            ("CentralSystemRootCertificate", "Central System Root"),
                            ("ManufacturerRootCertificate", "Manufacturer Root"),
                        ],
                        max_length=28,
                    ),
                ),
                ("hash_data", models.JSONField(null=True)),
                ("key", models.CharField(max_length=512)),
                ("certificate", models.TextField(blank=True, help_text="PEM, where it is known to us.")),
                ("subject", models.CharField(blank=True, max_length=500)),
                ("not_after", models.DateTimeField(null=True)),
                (
                    "installed_at",
                    models.DateTimeField(help_text="When an InstallCertificate of ours was accepted.", null=True),
                ),
                ("reported_at", models.DateTimeField(help_text="When the charge point listed it last.", null=True)),
                (
                    "charge_point",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="installed_certificates",
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
                "ordering": ["id"],
                "abstract": False,
                "base_manager_name": "objects",
            },
        ),
        migrations.CreateModel(
            name="RootCertificate",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("subject", models.CharField(blank=True, editable=False, max_length=500)),
                ("issuer", models.CharField(blank=True, editable=False, max_length=500)),
                ("serial_number", models.CharField(blank=True, editable=False, max_length=64)),
                (
                    "fingerprint",
                    models.CharField(blank=True, editable=False, max_length=64, verbose_name="SHA-256 fingerprint"),
                ),
                ("key", models.CharField(blank=True, editable=False, max_length=50)),
                ("not_before", models.DateTimeField(editable=False, null=True)),
                ("not_after", models.DateTimeField(editable=False, null=True)),
                ("name", models.CharField(max_length=100)),
                (
                    "certificate_type",
                    models.CharField(
                        choices=[
                            ("CentralSystemRootCertificate", "Central System Root"),
                            ("ManufacturerRootCertificate", "Manufacturer Root"),
                        ],
                        max_length=28,
                    ),
                ),
                ("certificate", models.TextField(help_text="PEM.")),
                ("created_by", models.CharField(editable=False, max_length=200)),
                ("created_at", models.DateTimeField(editable=False)),
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
            model_name="certificateauthority",
            index=models.Index(fields=["tenant", "name_and_key"], name="authority_by_name_and_key"),
        ),
        migrations.AddConstraint(
            model_name="certificateauthority",
            constraint=models.UniqueConstraint(fields=("tenant", "name"), name="authority_name_per_tenant"),
        ),
        migrations.AddConstraint(
            model_name="certificateauthority",
            constraint=models.UniqueConstraint(fields=("tenant", "fingerprint"), name="authority_certificate_once"),
        ),
        migrations.AddConstraint(
            model_name="certificateauthority",
            constraint=models.UniqueConstraint(
                condition=models.Q(("signs_requests", True)), fields=("tenant",), name="authority_one_signs_requests"
            ),
        ),
        migrations.AddIndex(
            model_name="certificaterequest",
            index=models.Index(fields=["charge_point", "-id"], name="certificate_request_newest"),
        ),
        migrations.AddConstraint(
            model_name="certificaterequest",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state__in", ("received", "waiting"))),
                fields=("charge_point",),
                name="certificate_request_one_open",
            ),
        ),
        migrations.AddIndex(
            model_name="certificate",
            index=models.Index(fields=["charge_point", "-id"], name="certificate_newest"),
        ),
        migrations.AddIndex(
            model_name="certificate",
            index=models.Index(fields=["tenant", "-id"], name="certificate_of_tenant"),
        ),
        migrations.AddIndex(
            model_name="certificate",
            index=models.Index(fields=["tenant", "not_after"], name="certificate_expiry"),
        ),
        migrations.AddConstraint(
            model_name="certificate",
            constraint=models.UniqueConstraint(fields=("tenant", "fingerprint"), name="certificate_once_per_tenant"),
        ),
        migrations.AddConstraint(
            model_name="certificaterevocation",
            constraint=models.UniqueConstraint(fields=("authority", "serial_number"), name="revocation_once"),
        ),
        migrations.AddConstraint(
            model_name="installedcertificate",
            constraint=models.UniqueConstraint(
                fields=("charge_point", "certificate_type", "key"), name="installed_certificate_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="rootcertificate",
            constraint=models.UniqueConstraint(fields=("tenant", "name"), name="root_certificate_name_per_tenant"),
        ),
        EnableRowLevelSecurity("Certificate"),
        EnableRowLevelSecurity("CertificateAuthority"),
        EnableRowLevelSecurity("CertificateRequest"),
        EnableRowLevelSecurity("CertificateRevocation"),
        EnableRowLevelSecurity("InstalledCertificate"),
        EnableRowLevelSecurity("RootCertificate"),
    ]
