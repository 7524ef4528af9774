"""The configuration keys that a tenant has declared secret, looked up only where a payload may hold one."""

from __future__ import annotations

from stations.batch import secret_keys_of_open_batch
from stations.masking import ABOUT_CONFIGURATION
from stations.models import Command
from tenants.models import Tenant

NONE: frozenset[str] = frozenset()


def listed(action: str, tenant_id: int) -> frozenset[str]:
    """Names in lower case; one query a batch with an action about configuration keys, none for any other."""
    if action not in ABOUT_CONFIGURATION:
        return NONE
    of_batch = secret_keys_of_open_batch(tenant_id)
    if of_batch is not None:
        return of_batch
    return Tenant.objects.only("secret_configuration_keys").get(pk=tenant_id).secret_keys


def of(command: Command) -> frozenset[str]:
    """The same for a command that is shown; no query when it came with its charge point's tenant."""
    return command.charge_point.tenant.secret_keys if command.action in ABOUT_CONFIGURATION else NONE
