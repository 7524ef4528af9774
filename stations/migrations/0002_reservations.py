from __future__ import annotations

from typing import Any

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("stations", "0001_charge_points")]

    operations: list[Any] = []
