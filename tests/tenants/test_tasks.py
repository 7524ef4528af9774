"""TenantTask, by way of real messages: published to Celery's in-memory broker, then run by the worker's own tracer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from celery import Celery, chain, current_app
from celery.app.trace import build_tracer
from django.db import transaction
from django.utils import timezone
from kombu.exceptions import OperationalError
from kombu.utils.uuid import uuid

from tenants import tasks
from tenants.models import JobRun, Site
from tenants.scope import (
    PLATFORM,
    CrossTenantScope,
    NoTenantScope,
    current_scope,
    current_tenant_id,
    platform_scope,
    tenant_scope,
)
from tenants.tasks import HEADER, LOST, TenantTask, fail_lost_jobs


class Worker:
    """A Celery app with a queue of its own, and what its tasks have seen."""

    def __init__(self) -> None:
        self.app = Celery("test", broker="memory://", set_as_current=False)
        self.app.conf.task_default_queue = f"test-{uuid()}"
        self.seen: list[Any] = []

    def task(self, function: Callable[..., Any], **options: Any) -> Any:
        return self.app.task(base=TenantTask, name=f"test.{function.__name__}", shared=False, **options)(function)

    def take(self) -> Any:
        """The next message of the queue; None when it is empty."""
        with (
            self.app.connection_for_read() as connection,
            connection.SimpleQueue(self.app.conf.task_default_queue) as queue,
        ):
            try:
                message = queue.get_nowait()
            except queue.Empty:
                return None
            message.ack()
            return message

    def run_next(self) -> Any:
        """Run the next message as a worker does, which starts without a scope; what the task returned or raised."""
        message = self.take()
        assert message is not None, "nothing was published"
        args, kwargs, _ = message.payload
        task = self.app.tasks[message.headers["task"]]
        return self._trace(task, message.headers, args, kwargs)

    def _trace(self, task: Any, headers: dict[str, Any], args: Any, kwargs: Any) -> Any:
        tracer = build_tracer(task.name, task, app=self.app)
        request = {**headers, "called_directly": False, "chain": kwargs.pop("_chain", None), "delivery_info": {}}
        value = tracer(headers["id"], args, kwargs, request).retval
        return getattr(value, "exception", value)

    def run_with_headers(self, task: Any, headers: dict[str, Any]) -> Any:
        return self._trace(task, {"id": uuid(), **headers}, (), {})


def _cut_off(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the worker's app find no broker."""

    def send_task(*args: Any, **kwargs: Any) -> None:
        raise OperationalError("no broker")

    monkeypatch.setattr(worker.app, "send_task", send_task)
    monkeypatch.setattr(worker.app.amqp, "send_task_message", send_task)


@pytest.fixture
def worker() -> Iterator[Worker]:
    before = current_app._get_current_object()
    worker = Worker()
    yield worker
    worker.app.close()
    before.set_current()


def test_task_runs_in_the_scope_in_which_it_was_published(worker: Worker) -> None:
    task = worker.task(_seen_scope)
    for tenant_id in (7, 8):
        with tenant_scope(tenant_id):
            task.delay()
    assert worker.run_next() == 7
    assert worker.run_next() == 8
    assert current_scope() is None


def _seen_scope() -> Any:
    scope = current_scope()
    return "platform" if scope is PLATFORM else scope


def test_message_carries_the_tenant_in_its_headers(worker: Worker) -> None:
    task = worker.task(_seen_scope)
    with tenant_scope(7):
        task.apply_async(headers={"other": "kept"})
    headers = worker.take().headers
    assert (headers[HEADER], headers["other"]) == (7, "kept")


@pytest.mark.parametrize("publish", ["delay", "apply_async", "delay_on_commit", "apply_async_on_commit", "apply"])
@pytest.mark.django_db
def test_publishing_without_a_tenant_is_refused(worker: Worker, publish: str) -> None:
    task = worker.task(_seen_scope)
    with pytest.raises(NoTenantScope, match="published without a tenant scope"):
        getattr(task, publish)()
    with platform_scope(), pytest.raises(NoTenantScope, match="published without a tenant scope"):
        getattr(task, publish)()
    assert worker.take() is None


def test_platform_task_runs_in_the_platform_scope_from_wherever_it_was_published(worker: Worker) -> None:
    task = worker.task(_seen_scope, platform=True)
    task.delay()
    with tenant_scope(7):
        task.delay()
    assert worker.run_next() == "platform"
    assert worker.run_next() == "platform"


def test_message_that_names_no_tenant_is_not_run(worker: Worker) -> None:
    task = worker.task(_seen_scope)
    for headers in ({}, {HEADER: None}, {HEADER: "platform"}):
        assert isinstance(worker.run_with_headers(task, headers), NoTenantScope)


def test_task_published_by_name_runs_only_for_the_platform(worker: Worker) -> None:
    worker.task(_seen_scope, platform=True)
    worker.app.send_task("test._seen_scope")
    assert worker.run_next() == "platform"


def test_next_task_of_a_chain_inherits_the_tenant(worker: Worker) -> None:
    task = worker.task(_seen_scope_after)
    with tenant_scope(7):
        chain(task.s(None), task.s()).apply_async()
    message = worker.take()
    args, kwargs, embedded = message.payload
    worker._trace(task, message.headers, args, {**kwargs, "_chain": embedded["chain"]})
    assert worker.take().headers[HEADER] == 7


def _seen_scope_after(previous: Any) -> Any:
    return current_tenant_id()


def test_task_that_publishes_another_hands_its_tenant_on(worker: Worker) -> None:
    inner = worker.task(_seen_scope)

    def outer() -> None:
        inner.delay()

    task = worker.task(outer)
    with tenant_scope(7):
        task.delay()
    worker.run_next()
    assert worker.run_next() == 7


def test_eager_run_is_in_the_scope_and_refuses_another_tenants(worker: Worker) -> None:
    task = worker.task(_seen_scope)
    with tenant_scope(7):
        assert task.apply().get() == 7
        assert task() == 7
        with pytest.raises(CrossTenantScope):
            task.apply(headers={HEADER: 8}, throw=True)
    worker.app.conf.task_always_eager = True
    with tenant_scope(7):
        assert task.delay().get(disable_sync_subtasks=False) == 7


def test_celerys_own_tasks_need_no_tenant(worker: Worker) -> None:
    task = worker.app.task(base=TenantTask, name="celery.something", shared=False)(_seen_scope)
    task.delay()
    assert worker.run_next() is None


@pytest.mark.django_db(transaction=True)
def test_on_commit_keeps_the_scope_of_the_call(worker: Worker) -> None:
    task = worker.task(_seen_scope)
    with transaction.atomic():
        with tenant_scope(7):
            task.delay_on_commit()
        assert worker.take() is None
    assert worker.run_next() == 7


def test_tracked_platform_task_cannot_be_declared(worker: Worker) -> None:
    with pytest.raises(TypeError, match="belongs to a tenant"):
        worker.task(_seen_scope, platform=True, track=True)._get_current_object()


@pytest.mark.django_db
class TestJobRun:
    def _only(self, tenant: Any) -> JobRun:
        with tenant_scope(tenant):
            return JobRun.objects.get()

    def test_is_queued_with_the_message_and_succeeds_with_the_result(self, worker: Worker, tenants: Any) -> None:
        def work(self: Any, factor: int) -> dict[str, int]:
            run = JobRun.objects.get()
            worker.seen.append((run.state, run.progress))
            self.report_progress(41.9)
            worker.seen.append(JobRun.objects.get().progress)
            return {"made": 2 * factor}

        task = worker.task(work, bind=True, track=True)
        with tenant_scope(tenants.tenant_a):
            result = task.delay(21)
        run = self._only(tenants.tenant_a)
        assert (run.task_id, run.task_name, run.state, run.progress) == (result.id, "test.work", "queued", 0)
        assert worker.run_next() == {"made": 42}
        assert worker.seen == [("running", 0), 41]
        run = self._only(tenants.tenant_a)
        assert (run.state, run.progress, run.result, run.error) == ("succeeded", 100, {"made": 42}, "")
        assert run.created_at <= run.started_at <= run.finished_at
        with tenant_scope(tenants.tenant_b):
            assert not JobRun.objects.exists()

    def test_failure_is_kept_while_the_work_is_rolled_back(self, worker: Worker, tenants: Any) -> None:
        def broken() -> None:
            with transaction.atomic():
                Site.objects.create(slug="half", name="Half")
                raise ValueError("no \x00 such thing")

        task = worker.task(broken, track=True)
        with tenant_scope(tenants.tenant_a):
            task.delay()
        assert isinstance(worker.run_next(), ValueError)
        run = self._only(tenants.tenant_a)
        assert (run.state, run.error, run.result) == ("failed", "ValueError: no  such thing", None)
        assert run.finished_at is not None
        with tenant_scope(tenants.tenant_a):
            assert not Site.objects.exists()

    def test_retry_is_queued_again_in_the_same_row(self, worker: Worker, tenants: Any) -> None:
        def flaky(self: Any) -> str:
            if self.request.retries == 0:
                raise self.retry(countdown=0, exc=ValueError("later"))
            return "done"

        task = worker.task(flaky, bind=True, track=True)
        with tenant_scope(tenants.tenant_a):
            task.delay()
        worker.run_next()
        run = self._only(tenants.tenant_a)
        assert (run.state, run.error) == ("queued", "")
        assert worker.run_next() == "done"
        assert self._only(tenants.tenant_a).pk == run.pk
        assert self._only(tenants.tenant_a).state == "succeeded"

    def test_message_delivered_twice_uses_the_same_row(self, worker: Worker, tenants: Any) -> None:
        task = worker.task(_seen_scope, track=True)
        with tenant_scope(tenants.tenant_a):
            task.delay()
        message = worker.take()
        for _ in range(2):
            worker._trace(task, message.headers, (), {})
        assert self._only(tenants.tenant_a).state == "succeeded"

    def test_row_lost_in_a_rollback_is_made_when_the_job_runs(self, worker: Worker, tenants: Any) -> None:
        task = worker.task(_seen_scope, track=True)
        with tenant_scope(tenants.tenant_a), transaction.atomic():
            task.delay()
            transaction.set_rollback(True)
        with tenant_scope(tenants.tenant_a):
            assert not JobRun.objects.exists()
        assert worker.run_next() == tenants.tenant_a.pk
        assert self._only(tenants.tenant_a).state == "succeeded"

    def test_job_that_could_not_be_published_has_failed(
        self, worker: Worker, tenants: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        task = worker.task(_seen_scope, track=True)
        _cut_off(worker, monkeypatch)
        with tenant_scope(tenants.tenant_a), pytest.raises(OperationalError):
            task.delay()
        run = self._only(tenants.tenant_a)
        assert (run.state, run.error) == ("failed", "OperationalError: no broker")

    def test_what_was_committed_stands_when_the_job_after_it_could_not_be_published(
        self, worker: Worker, tenants: Any, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
    ) -> None:
        task = worker.task(_seen_scope, track=True)
        _cut_off(worker, monkeypatch)
        with tenant_scope(tenants.tenant_a), django_capture_on_commit_callbacks(execute=True):
            task.delay_on_commit()
        assert self._only(tenants.tenant_a).state == "failed"

    @pytest.mark.parametrize("state", ["queued", "running"])
    def test_job_that_nobody_finishes_has_failed_with_the_reason(self, tenants: Any, settings: Any, state: str) -> None:
        settings.CSMS_JOB_LOST_SECONDS = 100
        settings.CELERY_BROKER_URL = "redis://127.0.0.1"
        now = timezone.now()
        with tenant_scope(tenants.tenant_a):
            for age in (99, 101):
                begun = {"started_at": now - timedelta(seconds=age)} if state == "running" else {}
                made = now - timedelta(seconds=age if state == "queued" else 5000)
                JobRun.objects.create(task_name="t", task_id=f"{age}", state=state, created_at=made, **begun)
        fail_lost_jobs.apply()
        with tenant_scope(tenants.tenant_a):
            rows = {run.task_id: (run.state, run.error) for run in JobRun.objects.all()}
        assert rows == {"99": (state, ""), "101": ("failed", LOST)}

    def test_broker_in_memory_has_forgotten_what_was_before_this_process(self, tenants: Any, settings: Any) -> None:
        settings.CELERY_BROKER_URL = "memory://"
        with tenant_scope(tenants.tenant_a):
            JobRun.objects.create(task_name="t", task_id="1", created_at=tasks._BEGAN - timedelta(seconds=1))
            JobRun.objects.create(task_name="t", task_id="2")
        fail_lost_jobs.apply()
        with tenant_scope(tenants.tenant_a):
            assert dict(JobRun.objects.values_list("task_id", "state")) == {"1": "failed", "2": "queued"}

    def test_result_that_is_no_json_is_left_out(self, worker: Worker, tenants: Any) -> None:
        def odd() -> object:
            return object()

        task = worker.task(odd, track=True)
        with tenant_scope(tenants.tenant_a):
            task.apply()
        run = self._only(tenants.tenant_a)
        assert (run.state, run.result) == ("succeeded", None)
