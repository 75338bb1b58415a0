"""The registry of models and the one row that says which of them serves: promote, try on a share, reject, roll back.

The row moves in one transaction together with its history and the audit log, so there is never no served model and never two.
Knows nothing of scores; who calls it has decided. Only a canary is decided here, by the rule it began with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from flywheel.audit import Audit
from flywheel.canary import Canaries, Canary
from flywheel.canary import Policy as CanaryPolicy
from flywheel.database import Database, now
from flywheel.errors import Conflict, InputError, NotFound

ModelStatus = Literal["base", "candidate", "promoted", "rejected"]
ITSELF = "flywheel"
"""Who acts where nobody did: the wheel."""


@dataclass(frozen=True)
class Policy:
    """Who puts a candidate live that passed the gate. automatic: the wheel does; else a developer."""

    automatic: bool = True


@dataclass(frozen=True)
class Model:
    """A model that this flywheel knows. run_id: the run that trained it; None for the base.

    erased_rows: how many of the rows that it learned from were erased since; a model with any should be trained anew.
    dataset_id: the data set that it learned from; None = the run's own. reason: why it was set aside.
    """

    id: str
    base_model: str
    run_id: str | None
    status: ModelStatus
    created_at: str
    erased_rows: int = 0
    dataset_id: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Served:
    """The model that answers the chat, and since when (UTC)."""

    model: str
    since: str


@dataclass(frozen=True)
class Promotion:
    """One move of the served-model row."""

    id: int
    model: str
    previous: str | None
    kind: Literal["first", "promote", "rollback"]
    person: str
    reason: str
    run_id: str | None
    created_at: str


class Registry:
    """Models, the served row, and the canary beside it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._audit = Audit(database)
        self.canaries = Canaries(database)

    def begin(self, base_model: str) -> Served:
        """Let the base model serve where nothing serves yet, or where the state was made for another base model."""
        with self._database.transaction():
            self.add(Model(base_model, base_model, None, "base", now()))
            served = self._database.first("SELECT m.base_model FROM served s JOIN models m ON m.id = s.model")
            if served is None:
                self._move(base_model, "first", ITSELF, "the base model serves until something better is proven", None)
            elif served["base_model"] != base_model:
                self._move(base_model, "promote", ITSELF, f"the base model changed from {served['base_model']!r}", None)
        return self.served()

    def add(self, model: Model) -> None:
        """Record a model; one that is known stays as it is."""
        self._database.insert("models", vars(model) | {"dataset_id": model.dataset_id or model.run_id}, ignore=True)

    def model(self, model_id: str) -> Model:
        """One model. Raises NotFound, naming those that exist."""
        row = self._database.first("SELECT * FROM models WHERE id = ?", (model_id,))
        if row is None:
            known = ", ".join(repr(model.id) for model in self.models()) or "none"
            raise NotFound(f"no model {model_id!r}; known are {known}")
        return Model(**row)

    def models(self) -> list[Model]:
        """All models, newest first."""
        return [Model(**row) for row in self._database.query("SELECT * FROM models ORDER BY created_at DESC, rowid DESC")]

    def served(self) -> Served:
        """The model that serves now. Raises NotFound before `begin`."""
        row = self._database.first("SELECT model, since FROM served")
        if row is None:
            raise NotFound("no model serves yet; start the web app once, or run `flywheel models`")
        return Served(**row)

    def serving(self, conversation_id: str) -> str:
        """The model that answers this conversation now: the candidate on trial, if it falls to it, or the one that serves."""
        served, canary = self.served().model, self.canaries.running()
        if canary and canary.current == served and self.canaries.chosen(canary, conversation_id):
            return canary.model
        return served

    def promote(self, model_id: str, *, person: str, reason: str, run_id: str | None = None) -> bool:
        """Let this model serve; False if it already does.

        Raises NotFound for a model that is not known, InputError where the gate did not pass it and no reason is given.
        """
        with self._database.transaction():
            model = self.model(model_id)
            if self.served().model == model.id:
                return False
            overridden = self._objection(model)
            if overridden and not reason.strip():
                raise InputError(f"{model_id!r} is {overridden}: give a reason why it is to serve all the same")
            self._move(model.id, "promote", person, reason.strip() or "by hand", run_id or model.run_id)
            self._database.execute(
                "UPDATE models SET status = 'promoted', reason = NULL WHERE id = ? AND status != 'base'", (model.id,)
            )
            self._database.execute("UPDATE runs SET outcome = 'promoted' WHERE candidate = ?", (model.id,))
            self._audit.record(person, "promote model", model.id, **({"overridden": overridden} if overridden else {}))
        return True

    def _objection(self, model: Model) -> str | None:
        """What stands against a candidate; None if the gate passed it, if it served before, and for the base."""
        sql = "SELECT iif(candidate = ?, verdict ->> 'verdict', NULL) AS said FROM runs WHERE id = ?"
        found = self._database.first(sql, (model.id, model.run_id))
        if model.status == "rejected":
            return "rejected"
        if model.status != "candidate" or found is None or found["said"] == "pass":
            return None
        return f"judged {found['said']!r} by the gate" if found["said"] else "not judged by the gate"

    def pass_over(self, model_id: str, reason: str) -> None:
        """Reject a candidate that is not judged, since another of its run is; one that somebody put live stays."""
        sql = "UPDATE models SET status = 'rejected', reason = ? WHERE id = ? AND status = 'candidate'"
        self._database.execute(sql, (reason, model_id))

    def reject(self, model_id: str, *, person: str, reason: str) -> None:
        """Set a candidate aside for good, also one on trial. Raises Conflict if it serves or is the base."""
        with self._database.transaction():
            model, canary = self.model(model_id), self.canaries.running()
            if model.status == "base" or self.served().model == model_id:
                raise Conflict(f"{model_id!r} serves now or is the base model and cannot be rejected; roll back first")
            if canary and canary.model == model_id:
                self.canaries.end(canary, "rolled_back", reason)
            self._set_aside(model_id, f"rejected by {person}: {reason}")
            self._audit.record(person, "reject model", model_id)

    def _set_aside(self, model_id: str, why: str) -> None:
        self._database.update("models", model_id, {"status": "rejected", "reason": why})
        self._database.execute("UPDATE runs SET outcome = 'rejected', error = ? WHERE candidate = ?", (why, model_id))

    def roll_back(self, *, person: str, reason: str) -> str:
        """Take the candidate on trial back; without one, let the model serve that served before. Returns the one that serves.

        Raises Conflict if there is none.
        """
        with self._database.transaction():
            served, canary = self.served(), self.canaries.running()
            if canary:
                self.reject(canary.model, person=person, reason=reason)
                return served.model
            row = self._database.first(
                "SELECT previous FROM promotions WHERE model = ? AND kind != 'rollback' AND previous IS NOT NULL"
                " AND previous NOT IN (SELECT m.id FROM models m JOIN runs r ON r.id = m.run_id WHERE r.removed_at IS NOT NULL)"
                " ORDER BY id DESC LIMIT 1",
                (served.model,),
            )
            if row is None:
                raise Conflict(f"nothing served before {served.model!r}, so there is nothing to roll back to")
            self._move(row["previous"], "rollback", person, reason, None)
            self._audit.record(person, "roll back model", row["previous"], instead_of=served.model)
        return str(row["previous"])

    def take_down(self) -> str | None:
        """Let no model answer that learned from rows erased since. Returns the one that serves instead; None if none had to go.

        It is the newest that was live, learned from none of them and is still there; in the end the base.
        """
        with self._database.transaction():
            why, canary = "it learned from rows that were erased", self.canaries.running()
            if canary and self.model(canary.model).erased_rows:
                self.reject(canary.model, person=ITSELF, reason=why)
            served = self.model(self.served().model)
            if not served.erased_rows:
                return None
            clean = self._database.first(
                "SELECT m.id FROM promotions p JOIN models m ON m.id = p.model LEFT JOIN runs r ON r.id = m.run_id"
                " WHERE m.erased_rows = 0 AND m.status != 'rejected' AND m.base_model = ? AND r.removed_at IS NULL"
                " ORDER BY p.id DESC LIMIT 1",
                (served.base_model,),
            )
            instead = str(clean["id"]) if clean else served.base_model
            self._move(instead, "rollback", ITSELF, f"instead of {served.id!r}: {why}", None)
            self._audit.record(ITSELF, "take down model", served.id, instead=instead)
        return instead

    # the canary ------------------------------------------------------------------------------------------------------

    def begin_canary(self, model_id: str, run_id: str, policy: CanaryPolicy) -> None:
        """Let a candidate answer a share of the conversations; another one on trial gives way to it."""
        with self._database.transaction():
            self._end_canary(model_id, f"{model_id!r}, which passed the gate later, is tried instead")
            self.canaries.begin(model_id, self.served().model, run_id, policy)
            self._audit.record(ITSELF, "begin canary", model_id, share=policy.share)

    def decide_canary(self) -> Canary | None:
        """Promote the candidate on trial or take it back, if what was seen of it decides; returns the one that was decided."""
        canary = self.canaries.running()
        if canary is None or self.canaries.judged(canary) is None:  # without the write lock, since it is asked every second
            return None
        with self._database.transaction():
            canary = self.canaries.running()
            decision = self.canaries.judged(canary) if canary else None
            if canary is None or decision is None:
                return None
            self.canaries.end(canary, decision.status, decision.reason)
            if decision.status == "promoted":
                self.promote(canary.model, person=ITSELF, reason=f"canary: {decision.reason}", run_id=canary.run_id)
            else:
                self._set_aside(canary.model, f"taken back by the canary: {decision.reason}")
                self._audit.record(ITSELF, "take back model", canary.model)
        return canary

    def _end_canary(self, instead: str, reason: str) -> None:
        """What is on trial gives way to the model `instead`; unless it is that one, a developer decides what becomes of it."""
        canary = self.canaries.running()
        if canary and canary.model == instead:
            self.canaries.end(canary, "promoted", reason)
        elif canary:
            self.canaries.end(canary, "ended", reason)
            why = f"its canary ended undecided: {reason}"
            self._database.execute("UPDATE runs SET outcome = 'waiting', error = ? WHERE candidate = ?", (why, canary.model))

    def promotions(self, limit: int = 50) -> list[Promotion]:
        """The served row's history, newest first."""
        return [Promotion(**row) for row in self._database.query("SELECT * FROM promotions ORDER BY id DESC LIMIT ?", (limit,))]

    def _move(self, model: str, kind: str, person: str, reason: str, run_id: str | None) -> None:
        moment = now()
        self._end_canary(model, f"{model!r} was put live meanwhile")
        previous = self._database.first("SELECT model FROM served")
        self._database.execute("INSERT OR REPLACE INTO served (one, model, since) VALUES (1, ?, ?)", (model, moment))
        self._database.insert(
            "promotions",
            {
                "model": model,
                "previous": previous["model"] if previous else None,
                "kind": kind,
                "person": person,
                "reason": reason,
                "run_id": run_id,
                "created_at": moment,
            },
        )
