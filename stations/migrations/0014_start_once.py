from importlib import import_module

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from stations.models.start_constraint import StartOnce
from tenants.scope import platform_scope

before = import_module("stations.migrations.0013_same_meaning")


def mark_what_came_meanwhile(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Servers of the version before may run until here: from the lock on none of them adds a start."""
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("LOCK TABLE stations_transaction IN SHARE ROW EXCLUSIVE MODE")
    with platform_scope():
        before.mark_duplicates(apps.get_model("stations", "Transaction"))


class Migration(migrations.Migration):
    dependencies = [("stations", "0013_same_meaning")]

    operations = [
        migrations.RunPython(mark_what_came_meanwhile, migrations.RunPython.noop, elidable=True),
        migrations.RemoveConstraint(model_name="transaction", name="transaction_start_once"),
        migrations.AddConstraint(model_name="transaction", constraint=StartOnce(name="transaction_start_once")),
    ]
