"""The registry of models and the one row that says which of them serves: promote, reject, roll back.

The row moves in one transaction together with its history, so there is never no served model and never two.
Knows nothing of scores; who calls it has decided.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from flywheel.database import Database, now
from flywheel.errors import Conflict, NotFound

ModelStatus = Literal["base", "candidate", "promoted", "rejected"]


@dataclass(frozen=True)
class Model:
    """A model that this flywheel knows. run_id: the run that trained it; None for the base.

    erased_rows: how many of the rows that it learned from were erased since; a model with any should be trained anew.
    """

    id: str
    base_model: str
    run_id: str | None
    status: ModelStatus
    created_at: str
    erased_rows: int = 0


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
    """Models and the served row."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, base_model: str) -> Served:
        """Let the base model serve where nothing serves yet, or where the state was made for another base model."""
        with self._database.transaction():
            self.add(Model(base_model, base_model, None, "base", now()))
            served = self._database.first("SELECT m.base_model FROM served s JOIN models m ON m.id = s.model")
            if served is None:
                self._move(base_model, "first", "flywheel", "the base model serves until something better is proven", None)
            elif served["base_model"] != base_model:
                self._move(base_model, "promote", "flywheel", f"the base model changed from {served['base_model']!r}", None)
        return self.served()

    def add(self, model: Model) -> None:
        """Record a model; one that is known stays as it is."""
        self._database.insert("models", vars(model), ignore=True)

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

    def promote(self, model_id: str, *, person: str, reason: str, run_id: str | None = None) -> bool:
        """Let this model serve; False if it already does. Raises NotFound for a model that is not known."""
        with self._database.transaction():
            model = self.model(model_id)
            if self.served().model == model.id:
                return False
            self._move(model.id, "promote", person, reason, run_id or model.run_id)
            self._database.execute("UPDATE models SET status = 'promoted' WHERE id = ? AND status != 'base'", (model.id,))
            self._database.execute("UPDATE runs SET outcome = 'promoted' WHERE candidate = ?", (model.id,))
        return True

    def reject(self, model_id: str, *, person: str, reason: str) -> None:
        """Set a candidate aside for good. Raises Conflict if it serves or is the base."""
        with self._database.transaction():
            model = self.model(model_id)
            if model.status == "base" or self.served().model == model_id:
                raise Conflict(f"{model_id!r} serves now or is the base model and cannot be rejected; roll back first")
            self._database.update("models", model_id, {"status": "rejected"})
            self._database.execute(
                "UPDATE runs SET outcome = 'rejected', error = ? WHERE candidate = ?",
                (f"rejected by {person}: {reason}", model_id),
            )

    def roll_back(self, *, person: str, reason: str) -> str:
        """Let the model serve that served before the present one; returns its id. Raises Conflict if there is none."""
        with self._database.transaction():
            served = self.served()
            row = self._database.first(
                "SELECT previous FROM promotions WHERE model = ? AND kind != 'rollback' AND previous IS NOT NULL"
                " AND previous NOT IN (SELECT candidate FROM runs WHERE removed_at IS NOT NULL AND candidate IS NOT NULL)"
                " ORDER BY id DESC LIMIT 1",
                (served.model,),
            )
            if row is None:
                raise Conflict(f"nothing served before {served.model!r}, so there is nothing to roll back to")
            self._move(row["previous"], "rollback", person, reason, None)
        return str(row["previous"])

    def promotions(self, limit: int = 50) -> list[Promotion]:
        """The served row's history, newest first."""
        return [Promotion(**row) for row in self._database.query("SELECT * FROM promotions ORDER BY id DESC LIMIT ?", (limit,))]

    def _move(self, model: str, kind: str, person: str, reason: str, run_id: str | None) -> None:
        moment = now()
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
