"""What is posted to webhooks: events, signed (contract, section 12)."""

import base64
import hashlib
import hmac
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

import msgspec

from taskyard.core.destination import Destination
from taskyard.dialects.ricloud import render
from taskyard.service.hooks import Letter

SIGNATURE: Final = "Ricloud-Signature"


def composer(new_uuid: Callable[[], str], now: Callable[[], datetime]) -> Callable[[Destination], Letter]:
    """Return what makes the event that a webhook config is tested with."""

    def compose(tested: Destination) -> Letter:
        config = {name: value for name, value in render.destination(tested).items() if name != "secret"}
        return letter(tested, event(new_uuid(), "webhook_config", "test", config, now()), now())

    return compose


def event(id: str, type: str, action: str, data: dict[str, Any], at: datetime) -> dict[str, Any]:
    return {
        "id": id,
        "resource": "event",
        "type": type,
        "action": action,
        "data": data,
        "state": "pending",
        "retries": 0,
        "date_created": render.moment(at),
        "date_delivered": None,
    }


def letter(to: Destination, event: dict[str, Any], at: datetime) -> Letter:
    """Return *event* as it is posted to a webhook: its id is the end of the URL."""
    body = msgspec.json.encode(event)
    headers = {
        "Content-Type": "application/json",
        SIGNATURE: signature(to.secret or "", body, int(at.timestamp())),
    }
    return Letter(url=f"{to.url.removesuffix('/')}/{event['id']}", headers=headers, body=body)


def signature(secret: str, body: bytes, timestamp: int) -> str:
    """
    Return the header's value.

    >>> signature("s", b"{}", 1)
    't=1,s=slNjm81wXtHNowc/ZhBPFpiL1AJyWE3qfQ00Wuk+Ycw='
    """
    mac = hmac.digest(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256)
    return f"t={timestamp},s={base64.b64encode(mac).decode()}"
