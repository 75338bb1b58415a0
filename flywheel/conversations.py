"""What a person does with their own conversations: find, rename and delete them; ask again, edit, take back.

Nothing is destroyed here. What they delete or set aside disappears for them, and stays with the flywheel, ratings and corrections
too: a second try after a bad answer says something about the answer. Only erasing the person (`erase`) takes it away.
"""

from __future__ import annotations

from flywheel.database import Database, now
from flywheel.errors import Conflict, InputError, NotFound
from flywheel.store import UNTITLED, Conversation, SetAside, Store, Turn, conversation_from

MAX_TITLE_CHARACTERS = 60
MAX_SEARCH_CHARACTERS = 200

FOUND = """
SELECT c.*, max(t.created_at) AS spoken_at FROM conversations c JOIN turns t ON t.conversation_id = c.id
WHERE c.person = :person AND c.deleted_at IS NULL AND t.set_aside IS NULL AND (
    c.title LIKE :like ESCAPE '\\' OR EXISTS (
        SELECT 1 FROM turns s WHERE s.conversation_id = c.id AND s.set_aside IS NULL
        AND (s.question LIKE :like ESCAPE '\\' OR s.answer LIKE :like ESCAPE '\\')
    )
) GROUP BY c.id ORDER BY spoken_at DESC LIMIT :limit
"""


class Conversations:
    """A person's conversations. Every method is one transaction, and raises NotFound for what is not theirs."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._database: Database = store.database

    def find(self, person: str, text: str, limit: int = 50) -> list[Conversation]:
        """Their conversations with this text in the title, a question or an answer, the one last spoken in first; all for ""."""
        text = text.strip()[:MAX_SEARCH_CHARACTERS]
        if not text:
            return self._store.conversations(person, limit)
        escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        rows = self._database.query(FOUND, {"person": person, "like": f"%{escaped}%", "limit": limit})
        return [conversation_from(row) for row in rows]

    def rename(self, conversation_id: str, person: str, title: str) -> Conversation:
        """Give it another title, of 60 characters at most. Raises InputError for an empty one."""
        title = " ".join(title.split())[:MAX_TITLE_CHARACTERS]
        if not title:
            raise InputError("The title is empty; write a few words.")
        with self._database.transaction():
            self._store.conversation(conversation_id, person)
            self._database.update("conversations", conversation_id, {"title": title})
        return self._store.conversation(conversation_id, person)

    def delete(self, conversation_id: str, person: str) -> None:
        """Make it disappear for its person. A call in it that awaits a yes will not run."""
        with self._database.transaction():
            self._store.conversation(conversation_id, person)
            for turn in self._store.turns(conversation_id):
                self._close(turn)
            self._database.update("conversations", conversation_id, {"deleted_at": now()})

    def set_aside(self, turn_id: str, person: str, how: SetAside) -> list[Turn]:
        """Take this turn and all after it off its conversation; returns them.

        Raises Conflict while one of them is being answered.
        """
        with self._database.transaction():
            turn = self._store.turn(turn_id)
            conversation = self._store.conversation(turn.conversation_id, person)
            turns = [other for other in self._store.turns(conversation.id) if other.position >= turn.position]
            if turn.id not in [other.id for other in turns]:
                raise NotFound(f"turn {turn_id!r} is no longer part of the conversation")
            if any(other.status == "running" for other in turns):
                raise Conflict("The answer is still coming; stop it or wait for its end.")
            for other in turns:
                self._close(other)
                self._database.update("turns", other.id, {"set_aside": how})
            if conversation.title == turn.question[:MAX_TITLE_CHARACTERS] and not self._store.turns(conversation.id):
                self._database.update("conversations", conversation.id, {"title": UNTITLED})
        return turns

    def _close(self, turn: Turn) -> None:
        """Let nothing in the turn wait for its person any more."""
        if turn.status == "awaiting":
            self._database.update("turns", turn.id, {"status": "stopped", "finished_at": now()})
            sql = "UPDATE tool_calls SET status = 'declined' WHERE turn_id = ? AND status = 'awaiting'"
            self._database.execute(sql, (turn.id,))
