"""`celery -A csms worker --include csms.drills.slow_jobs`: one more job, slow enough to be killed amid it."""

from __future__ import annotations

import time

from csms.celery import app
from tenants.tasks import TenantTask

STEP_SECONDS = 0.1


@app.task(base=TenantTask, track=True, name="csms.drills.slow_jobs.count")
def count(steps: int) -> dict[str, int]:
    """Count to `steps`, slowly; gives how far it came, which is `steps`."""
    for step in range(steps):
        time.sleep(STEP_SECONDS)
        count.report_progress(100 * step / steps)
    return {"counted": steps}
