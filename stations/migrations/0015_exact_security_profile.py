from django.db import migrations, models

HELP = (
    "Let it in with just this security profile. Else it may also come with a higher one and what that asks for; a lower"
    " one is always refused."
)


class Migration(migrations.Migration):
    """Charge points that exist stay held to just their profile, as they were when it was set; new ones are not."""

    dependencies = [
        ("stations", "0014_start_once"),
    ]

    operations = [
        migrations.AddField(
            model_name="chargepoint",
            name="exact_security_profile",
            field=models.BooleanField(default=True, help_text=HELP),
        ),
        migrations.AlterField(
            model_name="chargepoint",
            name="exact_security_profile",
            # Server processes of the version before, which know nothing of it, may still admit new ones.
            field=models.BooleanField(default=False, db_default=False, help_text=HELP),
        ),
    ]
