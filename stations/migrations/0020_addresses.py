from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("stations", "0019_near_misses_and_commands_without_effect"),
    ]

    operations = [
        migrations.AddField(
            model_name="serverprocess",
            name="addresses",
            field=models.JSONField(null=True),
        ),
    ]
