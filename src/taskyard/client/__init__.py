"""The client of the native API, for programs and for the command line."""

from taskyard.client.errors import Refused, ServerFault, Unreachable
from taskyard.client.faces import AsyncClient, Client
from taskyard.client.views import DeliveryView, EventView, HookView, QueueView, ScheduleView, TaskView
from taskyard.core.errors import StillOpen, TaskFailed

__all__ = [
    "AsyncClient",
    "Client",
    "DeliveryView",
    "EventView",
    "HookView",
    "QueueView",
    "Refused",
    "ScheduleView",
    "ServerFault",
    "StillOpen",
    "TaskFailed",
    "TaskView",
    "Unreachable",
]
