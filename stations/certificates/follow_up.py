"""What follows an accepted SignCertificate once its answer is committed: a task signs.

Context: the answer must leave before CertificateSigned, signing belongs to the authority and not to the answer, and
the rules of OCPP know nothing of commands.
Choice: the row says what is to be done, a task named here is told at once. Whatever comes of it is a command, which the
connection sends after it has sent the answer.
Consequence: a message broker that is down loses nothing: the row is found by the next sweep.
"""

from __future__ import annotations

from django.db import transaction

from csms.celery import app
from stations.models import CertificateRequest
from tenants.tasks import HEADER

ISSUE_TASK = "stations.tasks.issue_certificate"


def sign_after_commit(request: CertificateRequest) -> None:
    """Have `request` signed when the open transaction is committed."""

    def tell() -> None:
        app.send_task(ISSUE_TASK, [request.pk], headers={HEADER: request.tenant_id}, retry=False)

    transaction.on_commit(tell, robust=True)
