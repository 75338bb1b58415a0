"""The chat's feedback at NeMo Intake, in both directions: what was said here is told there, what others say there comes back.

Told is every finished turn with a rating or a review, from an outbox that the store's own triggers fill; so nothing is lost, all
of it may be repeated, and what is withdrawn, corrected or deleted later follows. What comes back is a rating, or a correction
that a reviewer must approve; its person is `intake:<who>`. Knows the store and the shapes; `intake_client` knows the service.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

from filelock import FileLock, Timeout

from flywheel.database import dump, now
from flywheel.errors import Conflict, FlywheelError, PlatformError
from flywheel.feedback import Feedback, FeedbackReader
from flywheel.feedback_shapes import APPLICATION, review_events, to_intake, user_rating
from flywheel.intake_client import Entry, IntakeClient, NoIntake, is_by
from flywheel.json_records import unusable
from flywheel.proposals import Proposal, Proposals
from flywheel.rows import Message, Row, rows_from
from flywheel.settings import Settings
from flywheel.store import CATEGORIES, Store, Turn
from flywheel.transport import PlatformAway

PERIOD_SECONDS = 60.0
BATCH = 100
LONGEST = 2000
"""Characters of an opinion that are kept, as of our own people's."""

logger = logging.getLogger(__name__)


@dataclass
class Synced:
    """What one synchronisation did. told, deleted: entries at Intake. ratings, proposals: that came from there.

    refused: entries that Intake would not take; they are offered again next time. left_out: words of others that are of no use
    here (no thumb and no correction, or a correction that does not fit the tools that the model saw).
    """

    told: int = 0
    deleted: int = 0
    refused: int = 0
    ratings: int = 0
    proposals: int = 0
    left_out: int = 0

    def to_dict(self) -> dict[str, int]:
        """For JSON."""
        return asdict(self)


@contextmanager
def nobody_else(settings: Settings, seconds: float) -> Iterator[None]:
    """Keep every process from synchronising meanwhile: of two at once, one could bring back what the other deleted.

    Raises Conflict where another does so for longer than `seconds`.
    """
    lock = FileLock(settings.home / "intake.lock", timeout=seconds)
    try:
        lock.acquire()
    except Timeout:
        raise Conflict("another process is synchronising with Intake; try again in a minute") from None
    try:
        yield
    finally:
        lock.release()


class IntakeSync:
    """Synchronises one store with one Intake."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._database = store.database
        self._reader = FeedbackReader(store)
        self._proposals = Proposals(store.database)
        self.closing = threading.Event()
        """Once set, a synchronisation ends after the entry that it is at."""

    def sync(self, seconds: float = 0) -> Synced:
        """Tell and hear what is new.

        Raises NoIntake where there is none, PlatformError where it is away (all that is left is tried next time), Conflict where
        another process is at it for longer than `seconds`.
        """
        done = Synced()
        with nobody_else(self._settings, seconds), closing(IntakeClient(self._settings)) as intake:
            intake.require()
            self._tell(intake, done)
            self._hear(intake, done)
        return done

    # telling ---------------------------------------------------------------------------------------------------------

    def _tell(self, intake: IntakeClient, done: Synced) -> None:
        last = 0
        sql = "SELECT id, turn_id FROM intake_outbox WHERE id > ? ORDER BY id LIMIT ?"
        while rows := self._database.query(sql, (last, BATCH)):
            for row in rows:
                if self.closing.is_set():
                    return
                last = row["id"]
                try:
                    told = self._tell_turn(intake, row["turn_id"], done)
                except PlatformAway:
                    raise
                except PlatformError as error:
                    logger.warning("%s", error)
                    done.refused += 1
                    continue
                if told:
                    # What was said meanwhile has a number of its own and stays.
                    self._database.execute("DELETE FROM intake_outbox WHERE id = ?", (last,))

    def _tell_turn(self, intake: IntakeClient, turn_id: str, done: Synced) -> bool:
        """Let the entry say what the store says; False for a turn that is still under way."""
        found = self._reader.of(turn_id)
        if found is None:
            if self._database.first("SELECT 1 FROM turns WHERE id = ?", (turn_id,)):
                return False
            self._withdraw(intake, turn_id)
            done.deleted += 1
            return True
        feedback = replace(found, ratings=[found.own] if found.own else [])
        said = {"rating": _digest(user_rating(feedback)), "review": _digest(review_events(feedback))}
        known = self._database.first("SELECT rating, review FROM intake_entries WHERE turn_id = ?", (turn_id,))
        if known == said or (known is None and not feedback.own and found.review is None):
            return True
        self._send(intake, feedback, said, known)
        self._database.upsert("intake_entries", {"turn_id": turn_id, **said}, ("turn_id",))
        done.told += 1
        return True

    def _send(self, intake: IntakeClient, feedback: Feedback, said: dict[str, str], known: dict[str, Any] | None) -> None:
        if known is None and intake.create(to_intake(feedback, intake.namespace)):
            return
        told = known or {"rating": None, "review": None}  # None: an entry that was made before a crash could be noted
        if told["rating"] != said["rating"]:
            intake.rate(feedback.turn.id, user_rating(feedback))
        if told["review"] != said["review"]:
            intake.replace_events(feedback.turn.id, APPLICATION, review_events(feedback))

    def _withdraw(self, intake: IntakeClient, turn_id: str) -> None:
        intake.delete(turn_id)
        self._database.execute("DELETE FROM intake_entries WHERE turn_id = ?", (turn_id,))

    # hearing ---------------------------------------------------------------------------------------------------------

    def _hear(self, intake: IntakeClient, done: Synced) -> None:
        found = self._database.first("SELECT updated_at FROM intake_cursor")
        newest = since = found["updated_at"] if found else ""
        for entry in intake.changed(since):
            if self.closing.is_set():
                return
            newest = max(newest, str(entry.get("updated_at") or ""))
            self._hear_entry(entry, done)
        # Only now: whatever breaks off in between is heard again, and known by its events.
        self._database.upsert("intake_cursor", {"one": 1, "updated_at": newest}, ("one",))

    def _hear_entry(self, entry: Entry, done: Synced) -> None:
        turn_id = str(entry.get("external_id") or "")
        known = self._database.first("SELECT rating FROM intake_entries WHERE turn_id = ?", (turn_id,))
        feedback = self._reader.of(turn_id) if known else None
        if known is None or feedback is None:
            return
        for event in (*_changed_rating(entry, known["rating"]), *(entry.get("events") or ())):
            if event.get("event_type") == "user_action" or is_by(event, APPLICATION):
                continue
            with self._database.transaction():
                if not self._database.first("SELECT 1 FROM intake_events WHERE id = ?", (event["id"],)):
                    self._database.insert("intake_events", {"id": event["id"], "turn_id": turn_id})
                    self._take(feedback.turn, event, done)

    def _take(self, turn: Turn, event: dict[str, Any], done: Synced) -> None:
        person, thumb, moment = f"intake:{_name(event.get('created_by'))}", event.get("thumb"), now()
        opinion = str(event.get("opinion") or "")[:LONGEST]
        if thumb in ("up", "down"):
            categories = [name for name in event.get("categories") or () if name in CATEGORIES]
            rating = {"turn_id": turn.id, "person": person, "thumb": thumb, "categories": dump(categories), "opinion": opinion}
            self._database.upsert("ratings", rating | {"created_at": moment, "updated_at": moment}, ("turn_id", "person"))
            done.ratings += 1
        response = _proposed(turn, event)
        if response is not None:
            self._proposals.add(Proposal(event["id"], turn.id, person, response, opinion, moment))
            done.proposals += 1
        elif thumb not in ("up", "down"):
            done.left_out += 1


def _changed_rating(entry: Entry, told: str) -> list[dict[str, Any]]:
    """The entry's rating as an event of somebody unknown, where it is neither empty nor what we told."""
    rating = entry.get("user_rating") or {}
    digest = _digest(rating)
    if digest in (told, _digest({})):
        return []
    return [{**rating, "id": f"rating-{entry['external_id']}-{digest[:16]}", "event_type": "user_feedback"}]


def _proposed(turn: Turn, event: dict[str, Any]) -> Message | None:
    """The correction that an event proposes, checked against the tools that the model saw; None where it holds no sound one."""
    override, rewrite = event.get("response_override"), event.get("rewrite")
    message: Any = {"role": "assistant", "content": rewrite} if rewrite else None
    if isinstance(override, dict):
        try:
            message = {**override["choices"][0]["message"], "role": "assistant"}
        except (KeyError, IndexError, TypeError):
            return None
    if message is None or unusable(message) is not None:
        return None
    found = rows_from({"messages": [{"role": "user", "content": turn.question}, message], "tools": turn.tools})[-1]
    return found.messages[-1] if isinstance(found, Row) else None


def _name(created_by: Any) -> str:
    """Who an event is by, in one word."""
    given = created_by if isinstance(created_by, dict) else {}
    found = next(
        (given[key] for key in ("user", "user_id", "name", "id") if given.get(key)), next(iter(given.values()), "unknown")
    )
    return "".join(letter for letter in str(found) if letter.isprintable())[:80] or "unknown"


def _digest(said: Any) -> str:
    """Of what was said, without what says nothing."""
    kept = {key: value for key, value in said.items() if value not in (None, "", {}, [])} if isinstance(said, dict) else said
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


class IntakeWorker:
    """Synchronises from a thread, every minute; what keeps it from doing so is said in the log once."""

    def __init__(self, settings: Settings, store: Store, period: float = PERIOD_SECONDS) -> None:
        self._sync = IntakeSync(settings, store)
        self._period = period
        self._trouble = ""
        self._thread = threading.Thread(target=self._work, name="intake", daemon=True)

    def start(self) -> None:
        """Begin; the first time after one period, when the services are up."""
        self._thread.start()

    def stop(self) -> None:
        """End after what is under way."""
        self._sync.closing.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._sync.closing.wait(self._period):
            self.once()

    def once(self) -> Synced | None:
        """Synchronise now; None where that is not possible."""
        try:
            done = self._sync.sync()
        except Conflict:  # another process does it
            return None
        except FlywheelError as error:
            if type(error).__name__ != self._trouble:
                level = logging.INFO if isinstance(error, NoIntake) else logging.WARNING
                logger.log(level, "feedback waits for Intake: %s", error)
            self._trouble = type(error).__name__
            return None
        self._trouble = ""
        return done
