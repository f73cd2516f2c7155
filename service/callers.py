"""Who calls, and what that lets them do: three roles, and things that belong to owners."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from sqlalchemy import ColumnElement, and_, false, or_, true


class Role(IntEnum):
    """Each may do what those before it may."""

    VIEWER = 1  # looks at what is theirs
    SUBMITTER = 2  # makes, changes and ends what is theirs
    OPERATOR = 3  # sees and changes everything, tokens and owners too

    @property
    def word(self) -> str:
        return self.name.lower()


def role_from_word(word: str) -> Role:
    return Role[word.upper()]


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who a request comes from."""

    owner: str
    role: Role
    project: str | None = None  # shared with everybody of this project
    token_id: str | None = None  # None: nobody asked for one (embedded, on loopback)
    token_name: str = ""

    @property
    def who(self) -> str:
        """For the audit."""
        return f"{self.owner} ({self.token_name})" if self.token_name else self.owner

    def may_see(self, owner: str, project: str | None) -> bool:
        shared = project is not None and project == self.project
        return self.role == Role.OPERATOR or owner == self.owner or shared


EMBEDDED = Caller(owner="me", role=Role.OPERATOR)  # the one user of an embedded service


def visible(caller: Caller, table: Any) -> ColumnElement[bool]:
    """The rows of a table with ``owner`` and ``project`` that a caller may see."""
    if caller.role == Role.OPERATOR:
        return true()
    shared = false() if caller.project is None else and_(table.project == caller.project)
    return or_(table.owner == caller.owner, shared)
