"""The calls about hooks."""

from collections.abc import Sequence
from typing import Any

from taskyard.client.flow import Flow, call, stream_of
from taskyard.client.sending import Sender, act, read
from taskyard.client.tasks import pages
from taskyard.client.views import DeliveryView, HookView
from taskyard.client.words import given, segment


class HookCalls:
    """A hook is named by its id."""

    @stream_of(HookView)
    def hooks(self: Sender) -> Flow[None]:
        yield from pages(self, "/v1/hooks", "hooks", HookView, {})

    @call
    def hook(self: Sender, id: str) -> Flow[HookView]:
        return HookView.of((yield from read(self, _hook(id))))

    @call
    def create_hook(
        self: Sender,
        url: str,
        events: Sequence[str] | None = None,
        *,
        queue: str | None = None,
        type: str | None = None,
        enabled: bool | None = None,
    ) -> Flow[HookView]:
        """Let *url* be told of *events* (``task.*`` when nothing is said); the hook's ``secret`` is told this once."""
        wanted = None if events is None else list(events)
        body = given(url=url, events=wanted, queue=queue, type=type, enabled=enabled)
        return HookView.of((yield from act(self, "POST", "/v1/hooks", body, again=False)))

    @call
    def change_hook(self: Sender, id: str, /, **changes: Any) -> Flow[HookView]:
        """Set what is given and leave the rest: ``url``, ``events``, ``queue``, ``type``, ``enabled``."""
        return HookView.of((yield from act(self, "PATCH", _hook(id), changes, again=True)))

    @call
    def delete_hook(self: Sender, id: str) -> Flow[None]:
        """Send it nothing more, not even what is waiting."""
        yield from act(self, "DELETE", _hook(id), again=True)

    @call
    def test_hook(self: Sender, id: str) -> Flow[DeliveryView]:
        """Send it an event of the kind ``hook.test``."""
        return DeliveryView.of((yield from act(self, "POST", f"{_hook(id)}:test", again=False)))

    @call
    def rotate_hook(self: Sender, id: str) -> Flow[HookView]:
        """Give it another secret, told this once; for a day both sign."""
        return HookView.of((yield from act(self, "POST", f"{_hook(id)}:rotate", again=False)))

    @stream_of(DeliveryView)
    def deliveries(self: Sender, id: str, *, state: str | None = None) -> Flow[None]:
        """Give what was sent to a hook, or is to be, newest first."""
        yield from pages(self, f"{_hook(id)}/deliveries", "deliveries", DeliveryView, given(state=state))

    @call
    def delivery(self: Sender, id: str, delivery: str) -> Flow[DeliveryView]:
        return DeliveryView.of((yield from read(self, _delivery(id, delivery))))

    @call
    def resend_delivery(self: Sender, id: str, delivery: str) -> Flow[DeliveryView]:
        """Send it again, under its id, whatever has become of it."""
        return DeliveryView.of(
            (yield from act(self, "POST", f"{_delivery(id, delivery)}:resend", again=False))
        )


def _hook(id: str) -> str:
    return f"/v1/hooks/{segment(id)}"


def _delivery(id: str, delivery: str) -> str:
    return f"{_hook(id)}/deliveries/{segment(delivery)}"
