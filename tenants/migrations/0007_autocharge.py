from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0006_weak_passwords"),
    ]

    operations = [
        migrations.AddField(
            model_name="tenant",
            name="autocharge_enabled",
            field=models.BooleanField(
                default=False,
                help_text="A vehicle's MAC address authorises like the id tag registered for it, in whatever spelling.",
            ),
        ),
    ]
