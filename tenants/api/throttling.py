"""How many requests a minute one caller may make. A cache that is down lets requests through."""

from __future__ import annotations

import logging
import time
from typing import Any

from django.conf import settings
from django.core.cache import cache
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from tenants.models import ApiKey

logger = logging.getLogger(__name__)

WINDOW_SECONDS = 60


class KeyRateThrottle(BaseThrottle):
    """A fixed window of one minute per API key or person; leaves `rate_limit` on the request for the headers."""

    def allow_request(self, request: Request, view: Any) -> bool:
        limit = settings.CSMS_API_REQUESTS_PER_MINUTE
        now = time.time()
        window = int(now // WINDOW_SECONDS)
        self._wait = (window + 1) * WINDOW_SECONDS - now
        if isinstance(request.auth, ApiKey):
            caller = f"key:{request.auth.pk}"
        else:
            caller = f"user:{getattr(request.user, 'pk', None)}"
        key = f"api:{caller}:{window}"
        try:
            cache.add(key, 0, WINDOW_SECONDS * 2)
            used = cache.incr(key)
        except Exception as error:
            logger.warning("Request rates are not limited: the cache failed (%s)", type(error).__name__)
            return True
        request._request.rate_limit = (limit, max(0, limit - used), int(self._wait) + 1)
        return used <= limit

    def wait(self) -> float:
        return self._wait
