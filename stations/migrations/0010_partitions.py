from __future__ import annotations

from django.db import migrations, models

from stations.partitions import PartitionByMonth


class Migration(migrations.Migration):
    dependencies = [("stations", "0009_security_events")]

    operations = [
        migrations.AddField(
            model_name="transaction",
            name="meter_values_rolled_up_at",
            field=models.DateTimeField(help_text="When its old meter values were thinned.", null=True),
        ),
        migrations.AddIndex(
            model_name="transaction",
            index=models.Index(
                condition=models.Q(("meter_values_rolled_up_at__isnull", True)),
                fields=["tenant", "stopped_received_at"],
                name="transaction_to_roll_up",
            ),
        ),
        PartitionByMonth("MeterValue", "timestamp"),
        PartitionByMonth("OcppMessage", "received_at"),
    ]
