"""TenantTask: the Celery task base that carries the tenant scope from whoever publishes a task to whoever runs it.

Context: workers are shared by all tenants and start every task without a scope.
Choice: publishing puts the open scope into the message header `csms-tenant`; running opens it again. A task for all
tenants says `platform=True` in its decorator and runs in the platform scope; it fans out by opening each tenant's scope
and publishing.
Consequence: a task published without a scope, and that is not for the platform, fails at once where it was published.

With `track=True` the task leaves a JobRun row: queued when published, in the publisher's transaction, then running,
succeeded or failed. Use `delay_on_commit` when the task reads what the transaction writes; the scope is the one open at
the call. A job whose message the broker lost, or that could not be published, does not wait for ever: it fails, with
the reason (`fail_lost_jobs`).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from celery import current_task, shared_task
from celery.contrib.django.task import DjangoTask
from celery.exceptions import Ignore, Reject, Retry
from celery.utils import uuid
from django.conf import settings
from django.db import transaction
from django.utils import timezone
from kombu.exceptions import OperationalError

from tenants.models import Guessing, JobRun, JobState
from tenants.scope import PLATFORM, CrossTenantScope, NoTenantScope, current_scope, platform_scope, tenant_scope

logger = logging.getLogger(__name__)

HEADER: Final = "csms-tenant"
LOST = "Lost: the worker that had it ended, or the broker forgot it."
# A broker in memory has forgotten everything that was published before this process began.
_BEGAN: Final = timezone.now()


class TenantTask(DjangoTask):
    """Base of every task: `@shared_task(base=TenantTask)`, with `platform=True` or `track=True` where they apply."""

    abstract = True
    platform = False
    track = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.platform and cls.track:
            raise TypeError(
                f"{cls.__name__}: a job that is tracked belongs to a tenant; platform tasks publish one each."
            )

    def apply_async(self, args: Any = None, kwargs: Any = None, task_id: str | None = None, **options: Any) -> Any:
        """As Celery's. NoTenantScope when no tenant's scope is open and the task is not for the platform."""
        task_id, options = self._announce(task_id, options)
        try:
            return super().apply_async(args, kwargs, task_id=task_id, **options)
        except OperationalError as error:
            self._not_published(task_id, options, error)
            raise

    def apply(self, args: Any = None, kwargs: Any = None, task_id: str | None = None, **options: Any) -> Any:
        """As Celery's: run here and now, in the scope that is open."""
        if HEADER not in (options.get("headers") or {}):
            task_id, options = self._announce(task_id, options)
        return super().apply(args, kwargs, task_id=task_id, **options)

    def delay_on_commit(self, *args: Any, **kwargs: Any) -> None:
        """Publish when the transaction commits, for the scope that is open now."""
        self.apply_async_on_commit(args, kwargs)

    def apply_async_on_commit(
        self, args: Any = None, kwargs: Any = None, task_id: str | None = None, **options: Any
    ) -> None:
        """Publish when the transaction commits, for the scope that is open now.

        What was committed stands when the broker cannot be reached: that is logged, and a tracked job has failed.
        """
        task_id, options = self._announce(task_id, options)
        publish = partial(super().apply_async, args, kwargs, task_id=task_id, **options)

        def publish_or_note() -> None:
            try:
                publish()
            except OperationalError as error:
                logger.error("Task %s was not published: the broker cannot be reached (%s)", self.name, error)
                self._not_published(task_id, options, error)

        transaction.on_commit(publish_or_note)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        request = self.request
        if request.called_directly:
            return super().__call__(*args, **kwargs)
        with self._scope_of(_header_of(request)):
            if not self.track:
                return super().__call__(*args, **kwargs)
            return self._tracked(request.id, args, kwargs)

    def report_progress(self, percent: float) -> None:
        """Show how far a tracked job is, 0 to 100. One UPDATE; call it per cent, not per row."""
        if self.track and not self.request.called_directly:
            self._job_run(self.request.id).set_progress(percent)

    def _announce(self, task_id: str | None, options: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Task id and options for a message that names the scope; writes the JobRun row of a tracked task."""
        task_id = task_id or uuid()
        value = self._scope_to_publish()
        headers = dict(options.get("headers") or {})
        if value is not None:
            headers[HEADER] = value
        if self.track:
            with self._scope_of(value):
                run = self._job_run(task_id)
                if run.state != JobState.QUEUED:  # published again by retry()
                    run.requeue()
        return task_id, {**options, "headers": headers}

    def _not_published(self, task_id: str, options: dict[str, Any], error: Exception) -> None:
        if self.track:
            with self._scope_of(options["headers"].get(HEADER)):
                self._job_run(task_id).fail(error, timezone.now())

    def _scope_to_publish(self) -> str | int | None:
        if self.platform:
            return PLATFORM.value
        scope = current_scope()
        if scope is None and current_task and not current_task.request.called_directly:
            # The next task of a chain is published by the worker after the previous one has left its scope.
            inherited = _header_of(current_task.request)
            scope = None if inherited in (None, PLATFORM.value) else int(inherited)
        if isinstance(scope, int):
            return scope
        if self._is_celerys_own:
            return None
        raise NoTenantScope(
            f"Task {self.name} published without a tenant scope; open one, or declare the task with platform=True."
        )

    def _scope_of(self, header: str | int | None) -> AbstractContextManager[Any]:
        if self.platform:
            return platform_scope()
        if header in (None, PLATFORM.value):
            if self._is_celerys_own:
                return nullcontext()
            raise NoTenantScope(f"Message of task {self.name} names no tenant.")
        tenant_id = int(header)
        scope = current_scope()
        if isinstance(scope, int) and scope != tenant_id:
            raise CrossTenantScope(f"Task {self.name} of tenant {tenant_id} run inside the scope of tenant {scope}.")
        return tenant_scope(tenant_id)

    @property
    def _is_celerys_own(self) -> bool:
        """Celery's built-in tasks (chords, result clean-up) get this base too when it is the app's default."""
        return str(self.name).startswith("celery.")

    def _job_run(self, task_id: str) -> JobRun:
        # The row is missing when the publisher's transaction was rolled back after the message had left.
        run, _ = JobRun.objects.get_or_create(task_id=task_id, defaults={"task_name": self.name})
        return run

    def _tracked(self, task_id: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        run = self._job_run(task_id)
        run.start(timezone.now())
        try:
            result = super().__call__(*args, **kwargs)
        except (Retry, Reject):
            raise  # published again: the row already says queued, and perhaps by now running
        except Ignore:
            run.succeed(None, timezone.now())
            raise
        except BaseException as error:
            run.fail(error, timezone.now())
            raise
        run.succeed(result, timezone.now())
        return result


def _header_of(request: Any) -> str | int | None:
    """The header of the task that runs: workers merge message headers into the request, eager runs keep them apart."""
    value = request.get(HEADER)
    return (request.headers or {}).get(HEADER) if value is None else value


@shared_task(base=TenantTask, platform=True, name="tenants.tasks.fail_lost_jobs")
def fail_lost_jobs() -> int:
    """Close jobs that have been queued or running for CSMS_JOB_LOST_SECONDS; gives their number.

    One that runs all the same says so itself when it ends, and what is redelivered begins anew.
    """
    with platform_scope():
        return JobRun.objects.fail_lost(_lost_before(timezone.now()), LOST, timezone.now())


@shared_task(base=TenantTask, platform=True, name="tenants.tasks.forget_guessing")
def forget_guessing() -> int:
    """Delete what is older than models.guessing.KEPT_FOR; gives the number of rows."""
    return Guessing.objects.forget(timezone.now())


def _lost_before(now: datetime) -> datetime:
    cutoff = now - timedelta(seconds=settings.CSMS_JOB_LOST_SECONDS)
    return max(cutoff, _BEGAN) if settings.CELERY_BROKER_URL.startswith("memory:") else cutoff
