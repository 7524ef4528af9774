from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("stations", "0010_partitions"),
    ]

    operations = [
        migrations.AddField(
            model_name="diagnosticsstatus",
            name="last_received_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="diagnosticsstatus",
            name="times",
            field=models.PositiveIntegerField(default=1),
        ),
        migrations.AddField(
            model_name="firmwarestatus",
            name="last_received_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="firmwarestatus",
            name="times",
            field=models.PositiveIntegerField(default=1),
        ),
    ]
