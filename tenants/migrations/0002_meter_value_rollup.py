from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("tenants", "0001_tenants")]

    operations = [
        migrations.AddField(
            model_name="tenant",
            name="meter_value_rollup_days",
            field=models.PositiveIntegerField(
                default=400,
                help_text="Then a settled transaction keeps one meter value a quarter of an hour. 0 keeps them all.",
            ),
        ),
    ]
