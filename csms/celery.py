"""The Celery application: `celery -A csms worker` and `celery -A csms beat` in production, threads when embedded."""

from __future__ import annotations

import os

from celery import Celery

from csms.metrics import jobs

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "csms.settings")

app = Celery("csms")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
jobs.connect()
