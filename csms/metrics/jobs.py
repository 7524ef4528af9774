"""The figures of background tasks, taken from Celery's signals: in a worker of its own as in the embedded one."""

from __future__ import annotations

from time import monotonic, time
from typing import Any, Final

from celery import signals
from django.conf import settings

from csms.metrics import figures, resources

PUBLISHED: Final = "csms-published"
OUTCOMES = {"SUCCESS": "succeeded", "FAILURE": "failed", "RETRY": "retried"}
_begun: dict[str, float] = {}


def connect() -> None:
    """Listen to Celery. Messages carry the time of publishing from now on."""
    signals.before_task_publish.connect(_published, weak=False)
    signals.task_prerun.connect(_begins, weak=False)
    signals.task_postrun.connect(_ended, weak=False)


def _published(headers: dict[str, Any] | None = None, **_: Any) -> None:
    if headers is not None:
        headers[PUBLISHED] = time()


def _begins(task_id: str, task: Any, **_: Any) -> None:
    if task.request.is_eager:
        return
    current = figures.begin(settings.CSMS_METRICS_DIR)
    _begun[task_id] = monotonic()
    published = task.request.get(PUBLISHED)
    if isinstance(published, int | float):
        current.task_wait_seconds.observe(max(0.0, time() - published))


def _ended(task_id: str, task: Any, state: str | None = None, **_: Any) -> None:
    begun, current = _begun.pop(task_id, None), figures.current
    if begun is None or current is None:
        return
    current.task_runs.labels(task.name, OUTCOMES.get(state or "", "other")).inc()
    current.child(current.task_seconds, task.name).observe(monotonic() - begun)
    resources.tell(current, resources.WORKER)
