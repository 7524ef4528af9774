"""The OpenAPI document over HTTP."""

from __future__ import annotations

from typing import Any

from drf_spectacular.views import SpectacularAPIView
from rest_framework.request import Request
from rest_framework.response import Response


class SchemaView(SpectacularAPIView):
    """The document. It follows from the code alone, so a process makes it once; anybody may ask for it."""

    _document: dict[str, Any] | None = None
    throttle_classes = ()

    def _get_schema_response(self, request: Request) -> Response:
        if SchemaView._document is None:
            SchemaView._document = super()._get_schema_response(request).data
        return Response(SchemaView._document)
