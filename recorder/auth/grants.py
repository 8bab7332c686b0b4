"""The permissions of a token: its roles, the sessions it is for, and until when.

Everything is denied that is not granted. A grant for some sessions is never asked about others: whoever reads or writes
narrows the question to it (`narrow`, `check_session`) before anything is looked up, so that the answer to a question
about a foreign session is the same whether there is one or not.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Literal

from recorder.core.errors import NotAllowed
from recorder.core.session_filter import Sessions

Role = Literal["subscribe", "publish", "admin"]
ROLES: tuple[Role, ...] = ("subscribe", "publish", "admin")
"""What can be granted; `admin` is all of it."""


@dataclass(frozen=True, slots=True)
class Grant:
    """The permissions of a connection or a request.

    Args:
        roles: Granted roles.
        sessions: The only sessions it may see or write; None for all.
        expires_ms: When it ends, in milliseconds since 1970; None for never.
        by: What it comes from, so that it can be asked later whether that still counts: a listed token's digest, or
            the key that a JWT was checked with. None where no token is needed.
    """

    roles: frozenset[Role]
    sessions: Sessions = None
    expires_ms: int | None = None
    by: Hashable = field(default=None, compare=False, repr=False)

    def require(self, role: Role) -> None:
        """Raise NotAllowed unless the role is granted."""
        if role not in self.roles and "admin" not in self.roles:
            raise NotAllowed(f"the role {role!r} is needed", hint="give a token that has it")

    def require_all_sessions(self) -> None:
        """Raise NotAllowed where the grant is for some sessions only."""
        if self.sessions is not None:
            raise NotAllowed(
                "this covers all sessions, and the token is restricted to some", hint="ask for those"
            )

    def check_session(self, session_id: str) -> None:
        """Raise NotAllowed unless it may see and write a session, whether there is one or not."""
        if self.sessions is not None and session_id not in self.sessions:
            raise NotAllowed(f"session {session_id[:80]!r} is not among those of the token", place="session")

    def narrow(self, asked: frozenset[str] | None) -> Sessions:
        """Return the sessions of a question that it may ask.

        Args:
            asked: Those that are named; None for all.

        Raises:
            NotAllowed: One that is named is not among those of the token.
        """
        if asked is None:
            return self.sessions
        for session_id in sorted(asked):
            self.check_session(session_id)
        return asked

    def is_over(self, now_ms: int) -> bool:
        """Return whether it has ended."""
        return self.expires_ms is not None and now_ms >= self.expires_ms


EVERYTHING = Grant(frozenset({"admin"}))
"""The grant of everyone where no tokens are configured."""
