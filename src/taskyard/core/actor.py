"""Who is asking: an organisation, an identity, and what it may do."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from taskyard.core.errors import Forbidden


class Permission(StrEnum):
    READ = "tasks:read"
    SUBMIT = "tasks:submit"
    CONTROL = "tasks:control"  # cancel, retry, pause …
    WORK = "tasks:work"  # claim, extend, settle
    MANAGE = "manage"  # queues, schedules, rules, hooks
    ADMIN = "admin"  # users, keys, the organisation itself


ALL: Final = frozenset(Permission)

#: What each role of a user may do.
ROLES: Final[Mapping[str, frozenset[Permission]]] = {
    "admin": ALL,
    "operator": ALL - {Permission.ADMIN},
    "member": frozenset({Permission.READ, Permission.SUBMIT, Permission.WORK}),
    "viewer": frozenset({Permission.READ}),
    "guest": frozenset(),  # may sign in, and sees nothing
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """
    Who asks. ``identity`` is ``user:<id>``, ``key:<id>``, ``worker:<uuid>`` or ``system``.

    ``number`` is the user's or key's own number where there is one.
    """

    organisation: int
    identity: str
    permissions: frozenset[Permission] = ALL
    name: str = ""
    number: int | None = None

    def may(self, permission: Permission) -> bool:
        return permission in self.permissions

    def require(self, permission: Permission) -> None:
        """Raise Forbidden unless the actor has *permission*."""
        if permission not in self.permissions:
            raise Forbidden(permission)
