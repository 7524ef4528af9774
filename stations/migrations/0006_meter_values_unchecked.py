from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("stations", "0005_firmware")]

    operations = [
        migrations.AlterField(
            model_name="metervalue",
            name="transaction",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="meter_values",
                to="stations.transaction",
            ),
        ),
    ]
