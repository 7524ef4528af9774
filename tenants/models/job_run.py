"""JobRun: the visible trace of one background job."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models.functions import Coalesce
from django.utils import timezone

from tenants.scoped import TenantManager, TenantModel, TenantQuerySet, tenant_foreign_key

MAX_ERROR_CHARACTERS = 2000


class JobState(models.TextChoices):
    QUEUED = "queued", "Queued"
    RUNNING = "running", "Running"
    SUCCEEDED = "succeeded", "Succeeded"
    FAILED = "failed", "Failed"


class JobRunQuerySet(TenantQuerySet["JobRun"]):
    def fail_lost(self, before: datetime, error: str, now: datetime) -> int:
        """Fail what has been queued or running since `before`, whoever had it; gives the number."""
        since = Coalesce("started_at", "created_at")
        unfinished = self.filter(state__in=(JobState.QUEUED, JobState.RUNNING)).alias(since=since)
        return unfinished.filter(since__lt=before).update(state=JobState.FAILED, error=error, finished_at=now)


class JobRun(TenantModel):
    """Kept by TenantTask for tasks with track=True. A repeated delivery of the same message uses the same row."""

    tenant = tenant_foreign_key(db_index=False)  # the index below begins with it
    task_name = models.CharField(max_length=200)
    task_id = models.CharField(max_length=64, unique=True)
    state = models.CharField(max_length=9, choices=JobState, default=JobState.QUEUED)
    progress = models.PositiveSmallIntegerField(default=0, help_text="Percent, 0 to 100.")
    error = models.TextField(blank=True)
    result = models.JSONField(null=True, blank=True, encoder=DjangoJSONEncoder)
    created_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = TenantManager.from_queryset(JobRunQuerySet)()

    class Meta(TenantModel.Meta):
        ordering = ["-pk"]
        indexes = [models.Index(fields=["tenant", "task_name", "-id"], name="job_run_latest")]
        constraints = [
            models.CheckConstraint(condition=models.Q(progress__lte=100), name="job_run_progress_percent"),
        ]

    def __str__(self) -> str:
        return f"{self.task_name} {self.task_id}"

    def start(self, now: datetime) -> None:
        """A worker has taken the job, perhaps not for the first time."""
        self.state, self.progress, self.error, self.result = JobState.RUNNING, 0, "", None
        self.started_at, self.finished_at = now, None
        self.save(update_fields=["state", "progress", "error", "result", "started_at", "finished_at"])

    def set_progress(self, percent: float) -> None:
        """Show how far the job is; values outside 0..100 are cut."""
        self.progress = max(0, min(100, int(percent)))
        self.save(update_fields=["progress"])

    def succeed(self, result: Any, now: datetime) -> None:
        """The job is done. A result that is no JSON is left out: it was meant for the caller, not for people."""
        try:
            json.dumps(result, cls=DjangoJSONEncoder)
        except (TypeError, ValueError):
            result = None
        self.state, self.progress, self.result, self.finished_at = JobState.SUCCEEDED, 100, result, now
        self.save(update_fields=["state", "progress", "result", "finished_at"])

    def fail(self, error: BaseException, now: datetime) -> None:
        """The job is over without success; `error` is shown to the tenant's people, without traceback."""
        text = f"{type(error).__name__}: {error}".replace("\x00", "")
        self.state, self.error, self.finished_at = JobState.FAILED, text[:MAX_ERROR_CHARACTERS], now
        self.save(update_fields=["state", "error", "finished_at"])

    def requeue(self) -> None:
        """The job failed and will be tried again."""
        self.state = JobState.QUEUED
        self.save(update_fields=["state"])
