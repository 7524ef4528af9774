import django.db.models.deletion
from django.db import migrations, models

import stations.models.id_tag
from tenants.rls import EnableRowLevelSecurity


class Migration(migrations.Migration):
    dependencies = [
        ("stations", "0015_exact_security_profile"),
        ("tenants", "0007_autocharge"),
    ]

    operations = [
        migrations.CreateModel(
            name="IdTagAlias",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("alias", models.CharField(max_length=20, validators=[stations.models.id_tag.validate_id_tag])),
                ("key", models.CharField(editable=False, max_length=60)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "verbose_name_plural": "id tag aliases",
                "ordering": ["id"],
                "abstract": False,
                "base_manager_name": "objects",
            },
        ),
        migrations.CreateModel(
            name="RefusedIdTag",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("id_tag", models.CharField(max_length=255)),
                ("key", models.CharField(max_length=255)),
                ("status", models.CharField(max_length=20)),
                (
                    "reason",
                    models.CharField(
                        choices=[
                            ("unknown", "Nobody has registered it"),
                            ("blocked", "It is blocked"),
                            ("expired", "It has expired"),
                            ("other_site", "It may charge at other sites only"),
                            ("concurrent", "It is charging elsewhere already"),
                        ],
                        max_length=10,
                    ),
                ),
                ("action", models.CharField(max_length=20)),
                ("times", models.PositiveIntegerField()),
                ("first_at", models.DateTimeField()),
                ("last_at", models.DateTimeField()),
            ],
            options={
                "ordering": ["-last_at", "-id"],
                "abstract": False,
                "base_manager_name": "objects",
            },
        ),
        migrations.CreateModel(
            name="VendorExtension",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("vendor_id", models.CharField(max_length=255)),
                ("key", models.CharField(editable=False, max_length=765)),
                (
                    "message_ids",
                    models.JSONField(
                        blank=True, default=list, help_text="The only messageIds that are known. Empty means all."
                    ),
                ),
                ("description", models.CharField(blank=True, max_length=200)),
                (
                    "enabled",
                    models.BooleanField(
                        default=True, help_text="Off: answered UnknownVendorId, as without this entry."
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
            ],
            options={
                "ordering": ["vendor_id"],
                "abstract": False,
                "base_manager_name": "objects",
            },
        ),
        migrations.CreateModel(
            name="VendorMessage",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("vendor_id", models.TextField()),
                ("message_id", models.TextField(blank=True)),
                ("data", models.TextField(null=True)),
                ("status", models.CharField(max_length=20)),
                ("response", models.TextField(null=True)),
                ("received_at", models.DateTimeField()),
            ],
            options={
                "ordering": ["-id"],
                "abstract": False,
                "base_manager_name": "objects",
            },
        ),
        migrations.AddField(
            model_name="idtag",
            name="alike",
            field=models.CharField(blank=True, editable=False, max_length=60),
        ),
        migrations.AddIndex(
            model_name="idtag",
            index=models.Index(fields=["tenant", "alike"], name="id_tag_alike"),
        ),
        migrations.AddField(
            model_name="idtagalias",
            name="id_tag",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="aliases", to="stations.idtag"
            ),
        ),
        migrations.AddField(
            model_name="idtagalias",
            name="tenant",
            field=models.ForeignKey(
                editable=False, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="tenants.tenant"
            ),
        ),
        migrations.AddField(
            model_name="refusedidtag",
            name="charge_point",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="refused_id_tags",
                to="stations.chargepoint",
            ),
        ),
        migrations.AddField(
            model_name="refusedidtag",
            name="tenant",
            field=models.ForeignKey(
                db_index=False,
                editable=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="tenants.tenant",
            ),
        ),
        migrations.AddField(
            model_name="vendorextension",
            name="tenant",
            field=models.ForeignKey(
                editable=False, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="tenants.tenant"
            ),
        ),
        migrations.AddField(
            model_name="vendormessage",
            name="charge_point",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="vendor_messages",
                to="stations.chargepoint",
            ),
        ),
        migrations.AddField(
            model_name="vendormessage",
            name="tenant",
            field=models.ForeignKey(
                db_index=False,
                editable=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="tenants.tenant",
            ),
        ),
        migrations.AddConstraint(
            model_name="idtagalias",
            constraint=models.UniqueConstraint(fields=("tenant", "key"), name="id_tag_alias_per_tenant"),
        ),
        migrations.AddIndex(
            model_name="refusedidtag",
            index=models.Index(fields=["tenant", "-last_at", "-id"], name="refused_id_tag_latest"),
        ),
        migrations.AddIndex(
            model_name="refusedidtag",
            index=models.Index(fields=["tenant", "key"], name="refused_id_tag_by_key"),
        ),
        migrations.AddConstraint(
            model_name="refusedidtag",
            constraint=models.UniqueConstraint(fields=("charge_point", "key"), name="refused_id_tag_once"),
        ),
        migrations.AddConstraint(
            model_name="vendorextension",
            constraint=models.UniqueConstraint(fields=("tenant", "key"), name="vendor_extension_once"),
        ),
        migrations.AddIndex(
            model_name="vendormessage",
            index=models.Index(fields=["tenant", "-id"], name="vendor_message_newest"),
        ),
        migrations.AddIndex(
            model_name="vendormessage",
            index=models.Index(fields=["charge_point", "-id"], name="vendor_message_of_station"),
        ),
        EnableRowLevelSecurity("IdTagAlias"),
        EnableRowLevelSecurity("RefusedIdTag"),
        EnableRowLevelSecurity("VendorExtension"),
        EnableRowLevelSecurity("VendorMessage"),
    ]
