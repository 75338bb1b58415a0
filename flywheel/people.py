"""Who may do what: the three kinds of people, and the one local person on a machine where nobody else was defined.

Knows names and roles; knows nothing of pages, of cookies or of what a role's work is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Role = Literal["end_user", "reviewer", "developer"]
ROLES: tuple[Role, ...] = get_args(Role)

LOCAL = "local"
"""The name of the one person on loopback while no people are defined."""


@dataclass(frozen=True)
class Person:
    """Somebody who is signed in. name: unique, as it stands with ratings and reviews. roles: what they may do."""

    name: str
    roles: frozenset[Role]

    def may(self, role: Role) -> bool:
        """Whether they have the role."""
        return role in self.roles


LOCAL_PERSON = Person(LOCAL, frozenset(ROLES))
