"""Paths of the charge points' API. An identity may contain a slash, so the specific paths come first."""

from __future__ import annotations

from django.urls import path

from stations.api import charge_points, commands, id_tags, transactions

urlpatterns = [
    path("charge-points/", charge_points.ChargePointList.as_view()),
    path("charge-points/<path:identity>/connectors/", charge_points.ConnectorList.as_view()),
    path("charge-points/<path:identity>/configuration/", charge_points.ConfigurationList.as_view()),
    path("charge-points/<path:identity>/commands/", commands.ChargePointCommandList.as_view()),
    path("charge-points/<path:identity>/messages/", charge_points.MessageList.as_view()),
    path("charge-points/<path:identity>/connection-attempts/", charge_points.ConnectionAttemptList.as_view()),
    path("charge-points/<path:identity>/", charge_points.ChargePointDetail.as_view()),
    path("commands/", commands.CommandList.as_view()),
    path("commands/bulk/", commands.CommandBulk.as_view()),
    path("commands/<int:pk>/", commands.CommandDetail.as_view(), name="command"),
    path("transactions/", transactions.TransactionList.as_view()),
    path("transactions/<int:pk>/", transactions.TransactionDetail.as_view()),
    path("transactions/<int:pk>/meter-values/", transactions.TransactionMeterValueList.as_view()),
    path("transactions/<int:pk>/close/", transactions.TransactionClose.as_view()),
    path("id-tags/", id_tags.IdTagList.as_view()),
    path("id-tags/<path:id_tag>/", id_tags.IdTagDetail.as_view()),
]
