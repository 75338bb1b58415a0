"""The last two stages by the policy file: judged by its numbers, then live at once, on trial, or waiting for a developer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from flywheel.audit import Audit
from flywheel.database import now
from flywheel.errors import InputError
from flywheel.history import Run, RunRecords
from flywheel.nemo import Nemo
from flywheel.promote import Model, Registry
from flywheel.settings import Settings
from flywheel.stages import SCORES_FILE, Stages
from flywheel.store import Store
from tests.fakes import ScriptedServices


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    """A store with a run whose candidate was evaluated: right on all of ten rows, where the base is right on none."""
    opened = Store(settings.store_path)
    registry, records = Registry(opened.database), RunRecords(opened.database)
    registry.begin("base")
    records.create("run-1", "me")
    records.note("run-1", candidate="new", current="base")
    registry.add(Model("new", "base", "run-1", "candidate", now()))
    folder = settings.home / "datasets" / "run-1"
    folder.mkdir(parents=True)
    rows = {
        label: [[str(n), "holdout", "add", right, right] for n in range(10)]
        for label, right in (("candidate", True), ("current", False))
    }
    (folder / SCORES_FILE).write_text(json.dumps(rows))
    yield opened
    opened.close()


def ended(settings: Settings, store: Store, policy: str) -> Run:
    """The run after gate and promotion under this policy file."""
    (settings.home / "policy.toml").write_text(policy)
    listed: Any = {
        "object": "list",
        "data": [{"id": name, "object": "model", "created": 0, "owned_by": "us"} for name in ("base", "new")],
    }
    with ScriptedServices() as services:
        services.on("GET /v1/models", (200, listed))
        nemo = Nemo(settings.with_urls(services.url, services.url, services.url))
        stages = Stages(settings, store, nemo)
        asyncio.run(stages.gate("run-1"))
        asyncio.run(stages.promote("run-1"))
        nemo.close()
    return RunRecords(store.database).run("run-1")


def test_one_that_passes_goes_live_by_itself_unless_the_file_says_otherwise(settings: Settings, store: Store) -> None:
    run, registry = ended(settings, store, ""), Registry(store.database)
    assert (run.outcome, registry.served().model, registry.promotions()[0].person) == ("promoted", "new", "flywheel")
    (entry,) = Audit(store.database).entries()
    assert (entry.person, entry.action, entry.subject, entry.detail) == ("flywheel", "promote model", "new", {})


def test_it_waits_for_a_developer_where_the_file_says_so(settings: Settings, store: Store) -> None:
    run, registry = ended(settings, store, "[promotion]\nautomatic = false\n"), Registry(store.database)
    assert (run.outcome, registry.served().model) == ("waiting", "base")
    assert "nothing goes live by itself" in run.stages["promote"]["detail"]["reason"]
    assert registry.promote("new", person="dev", reason="") and registry.promotions()[0].reason == "by hand"


def test_it_is_tried_on_a_share_where_the_file_says_so(settings: Settings, store: Store) -> None:
    run, registry = ended(settings, store, "[canary]\nshare = 0.25\nconversations = 7\n"), Registry(store.database)
    canary = registry.canaries.running()
    assert run.outcome == "canary" and run.stages["promote"]["detail"]["canary_share"] == 0.25
    assert canary and (canary.model, canary.current, canary.conversations, canary.run_id) == ("new", "base", 7, "run-1")
    assert registry.served().model == "base"


def test_the_gate_judges_by_the_file_and_overruling_it_takes_a_reason_and_is_logged(settings: Settings, store: Store) -> None:
    run, registry = ended(settings, store, "[gate]\nalpha = 0.0001\n"), Registry(store.database)
    assert run.verdict and (run.verdict["verdict"], run.verdict["numbers"]["policy"]["alpha"]) == ("inconclusive", 0.0001)
    assert run.outcome == "waiting"
    with pytest.raises(InputError, match="'new' is judged 'inconclusive' by the gate: give a reason"):
        registry.promote("new", person="dev", reason="  ")
    assert registry.promote("new", person="dev", reason="ten of ten")
    registry.roll_back(person="dev", reason="odd")
    registry.reject("new", person="eve", reason="odd")
    told = [(entry.person, entry.action, entry.subject, entry.detail) for entry in Audit(store.database).entries()]
    assert told == [
        ("eve", "reject model", "new", {}),
        ("dev", "roll back model", "base", {"instead_of": "new"}),
        ("dev", "promote model", "new", {"overridden": "judged 'inconclusive' by the gate"}),
    ]


def test_a_fault_in_the_policy_file_is_told_before_anything_is_trained(settings: Settings, store: Store) -> None:
    (settings.home / "policy.toml").write_text("[gate]\nalpha = 2.0\n")
    nowhere = "http://127.0.0.1:9"
    nemo = Nemo(settings.with_urls(nowhere, nowhere, nowhere))
    with pytest.raises(InputError, match=r"policy.toml: alpha is 2.0; give a chance .* \(in \[gate\]\)"):
        asyncio.run(Stages(settings, store, nemo).curate("run-1"))
    nemo.close()
