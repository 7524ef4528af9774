"""IdTag: kept as registered, found in any case."""

from __future__ import annotations

import pytest

from stations.models import IdTag
from tenants.models import Tenant


@pytest.mark.parametrize("id_tag", ["ß" * 20, "ŉ" * 20, "ﬃ" * 20, "Tag-1"])
def test_upper_case_may_be_longer_than_the_tag(in_tenant_a: Tenant, id_tag: str) -> None:
    IdTag.objects.create(id_tag=id_tag)
    assert IdTag.objects.get(key=id_tag.upper()).id_tag == id_tag
