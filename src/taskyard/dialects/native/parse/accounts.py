"""What is said about keys, users and the organisation."""

from typing import Annotated

import msgspec
from msgspec import UNSET, UnsetType

from taskyard.core.actor import Permission
from taskyard.dialects.native.parse.words import Body, Moment


class NewKeyBody(Body, frozen=True, kw_only=True):
    name: str
    permissions: Annotated[
        list[Permission] | None,
        msgspec.Meta(description="What it may do; everything you may when nothing is said."),
    ] = None
    owner: Annotated[int | None, msgspec.Meta(description="The number of the user it acts for.")] = None
    expires_at: Moment | None = None
    hex: Annotated[
        bool, msgspec.Meta(description="A secret of 40 hexadecimal digits, as some older clients want them.")
    ] = False


class NewUserBody(Body, frozen=True, kw_only=True):
    login: str
    name: str | None = None
    role: str = "member"
    password: str | None = None


class UserChangeBody(Body, frozen=True, kw_only=True):
    name: str | UnsetType = UNSET
    role: str | UnsetType = UNSET
    password: str | None | UnsetType = UNSET
    disabled: bool | UnsetType = UNSET
