from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0003_guessing"),
    ]

    operations = [
        migrations.AddField(
            model_name="tenant",
            name="audit_retention_days",
            field=models.PositiveIntegerField(
                blank=True, help_text="0 keeps the audit log for ever, empty is as the installation has it.", null=True
            ),
        ),
        migrations.AddField(
            model_name="tenant",
            name="history_retention_days",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="For commands, boots, connector statuses, firmware updates, logs and their files, and job runs. "
                "0 keeps them for ever, empty is as the installation has it.",
                null=True,
            ),
        ),
    ]
