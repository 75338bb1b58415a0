"""A state folder in which the wheel has turned once, made without a platform: records and files as a run leaves them."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

from feedback import finished_turn, saying

from flywheel.curate import Curated, curate
from flywheel.database import now
from flywheel.history import RunRecords
from flywheel.ledger import Ledger
from flywheel.promote import Model, Registry
from flywheel.review import ReviewDesk
from flywheel.rows import Message, Row
from flywheel.settings import LOCAL_BASE_MODEL, Settings
from flywheel.store import Store, Turn


def corrected_turn(store: Store, person: str, question: str, correction: Message, opinion: str = "") -> Turn:
    """A finished turn that its person rated down and a reviewer corrected."""
    turn = finished_turn(store, question, saying("I do not know"), person=person)
    store.rate(person, turn.id, "down", ["wrong_tool"], opinion)
    ReviewDesk(store, Ledger(store.database)).approve(turn.id, "rita", correction)
    return turn


def turn_wheel(settings: Settings, store: Store, run_id: str = "run-1", *, replay: tuple[Row, ...] = ()) -> tuple[str, Curated]:
    """Curate what there is, keep the dataset, record the run and put its model live: (model, dataset)."""
    ledger, registry, records = Ledger(store.database), Registry(store.database), RunRecords(store.database)
    registry.begin(LOCAL_BASE_MODEL)
    records.create(run_id, "rita")
    made = curate(ledger.examples(), replay, [], run_id=run_id)
    for path, content in made.files.items():
        place = settings.home / "datasets" / run_id / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    ledger.save_dataset(run_id, made.manifest["digest"], made.manifest, made.splits)
    model = f"flywheel/tool-llama-5m-{run_id}@v1"
    registry.add(Model(model, LOCAL_BASE_MODEL, run_id, "candidate", now()))
    records.note(run_id, candidate=model, current=LOCAL_BASE_MODEL)
    records.finish(run_id, "succeeded", outcome="promoted")
    registry.promote(model, person="rita", reason="better")
    return model, made


def holding(home: Path, text: str) -> list[str]:
    """The files under a folder in which a text stands, in any way of writing it, packed ones unpacked."""
    forms = {text.encode(), json.dumps(text)[1:-1].encode()}
    found = []
    for path in filter(Path.is_file, home.rglob("*")):
        content = path.read_bytes()
        if path.suffix == ".zip":
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                content += b"".join(archive.read(name) for name in archive.namelist())
        if any(form in content for form in forms):
            found.append(str(path.relative_to(home)))
    return sorted(found)
