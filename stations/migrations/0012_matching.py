from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("stations", "0011_status_repetitions")]

    operations = [
        migrations.AddField(
            model_name="metervalue",
            name="matched_by",
            field=models.CharField(blank=True, db_default="", default="", max_length=20),
        ),
        migrations.AddField(
            model_name="transaction",
            name="candidates",
            field=models.JSONField(db_default=models.Value([], models.JSONField()), default=list),
        ),
        migrations.AddField(
            model_name="transaction",
            name="duplicate_of",
            field=models.IntegerField(
                blank=True,
                help_text="The transaction whose start this one repeats, of before that was recognised.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="transaction",
            name="matched_by",
            field=models.CharField(
                blank=True,
                choices=[
                    ("transaction_id", "the transactionId that was sent"),
                    ("only_candidate", "the only open transaction that it fits"),
                    ("readings", "the meter readings: it goes on from those of this one alone"),
                    ("order", "what was sent after it: the other candidates went on, or had stops of their own"),
                    ("connector", "the connector and the time"),
                ],
                db_default="",
                default="",
                max_length=20,
            ),
        ),
        migrations.AddField(
            model_name="transaction",
            name="stop_ref",
            field=models.TextField(blank=True, db_default="", default=""),
        ),
        migrations.AddIndex(
            model_name="transaction",
            index=models.Index(fields=["charge_point", "connector_id", "started_at"], name="transaction_by_start"),
        ),
        migrations.AddIndex(
            model_name="transaction",
            index=models.Index(
                condition=models.Q(("stop_ref", ""), _negated=True),
                fields=["charge_point", "meter_stop_wh"],
                name="transaction_unnamed_stop",
            ),
        ),
    ]
