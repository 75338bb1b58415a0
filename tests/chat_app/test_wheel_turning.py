"""What stands on the Wheel page beside the run: notices, the schedule, cost and the learning curve; every text escaped."""

from __future__ import annotations

from typing import Any

import pytest

from chat_app.ui import wheel_turning
from flywheel.cost import cost_of
from flywheel.events import Event
from flywheel.history import Run
from tests.chat_app.view_material import EVIL, MOMENT

STAGE = {"status": "done", "started_at": "2026-11-24T14:00:00+00:00", "finished_at": "2026-11-24T14:01:40+00:00"}


def scores(name: float, whole: float) -> dict[str, Any]:
    holdout = {"function_name_accuracy": name, "function_name_and_args_accuracy": whole, "count": 40}
    return {"suites": {"holdout": holdout}}


def run(number: int, outcome: Any, before: float, after: float, **more: Any) -> Run:
    both = {"current": scores(before + 0.1, before), "candidate": scores(after + 0.1, after)}
    record = Run(f"run-{number}", "schedule", f"2026-11-2{number}T14:00:00+00:00", MOMENT, "succeeded", outcome,
                 {"train": STAGE, "evaluate": STAGE}, {}, None, None, None, both, None, None)  # fmt: skip
    return Run(**vars(record) | more)


def event(**changes: Any) -> Event:
    made = Event(1, "ended", "run-1", "flywheel/m@v1", MOMENT, "succeeded", "promoted", "pass", None)
    return Event(**vars(made) | changes)


@pytest.mark.parametrize(
    ("happened", "words"),
    [
        (event(), "run-1</code> ended: the gate says pass."),
        (event(outcome="waiting", verdict="inconclusive"), "the gate says inconclusive. It waits for your decision."),
        (event(status="failed", error="no room"), "run-1</code> failed: no room"),
        (event(kind="promote"), "flywheel/m@v1</code> was put live."),
        (event(kind="rejected", error="more complaints"), "flywheel/m@v1</code> was set aside: more complaints"),
        (event(kind="rollback"), "flywheel/m@v1</code> serves again after a roll-back."),
    ],
)
def test_what_happened_is_said(happened: Event, words: str) -> None:
    assert words in wheel_turning.notices([happened])


def test_nothing_happened_is_said_by_silence() -> None:
    assert wheel_turning.notices([]) == ""


def test_texts_are_escaped() -> None:
    evil = event(status="failed", error=EVIL, run_id=EVIL), event(kind=EVIL, model=EVIL)
    for markup in (wheel_turning.notices(evil), wheel_turning.schedule(EVIL, []), wheel_turning.schedule("", [EVIL])):
        assert EVIL not in markup and "&lt;" in markup


def test_cost_is_counted_where_it_is_known_and_divided_by_what_was_gained() -> None:
    took = {"train": {"tokens": 900_000, "cpu_seconds": 210.0}, "evaluate": {"tokens": 100_000}}
    paid = run(1, "promoted", 0.5, 0.7, cost=took)
    cost = cost_of(paid)
    assert (cost.seconds, cost.tokens, cost.cpu_seconds, cost.gpu_seconds) == (200, 1_000_000, 210, None)
    assert cost.points == pytest.approx(20) and cost.per_point(cost.seconds) == pytest.approx(10)
    assert "<b>1,000,000 tokens</b> (50,000 tokens a point)" in wheel_turning.cost(paid)
    assert "GPU-seconds</b>: not told" in wheel_turning.cost(paid) and "+20.0 points" in wheel_turning.cost(paid)
    held = run(1, "promoted", 0.5, 0.7, cost={"train": {"gpu_seconds": 360.0}})
    assert "<b>360 GPU-seconds</b> (18 GPU-seconds a point)" in wheel_turning.cost(held)
    worse = run(1, "waiting", 0.5, 0.4)
    assert cost_of(worse).tokens is None and "a point" not in wheel_turning.cost(worse)
    assert "after it" in wheel_turning.cost(None)


def test_the_curve_follows_the_model_that_was_live() -> None:
    runs = [run(3, "promoted", 0.6, 0.8), run(2, "waiting", 0.6, 0.5), run(1, "promoted", 0.3, 0.6)]
    frame = wheel_turning.curve(runs)
    assert frame is not None
    whole = frame[frame.metric == "name and arguments"]
    assert whole.run.tolist() == [0, 1, 2, 3] and whole.accuracy.tolist() == [0.3, 0.6, 0.6, 0.8]
    assert frame.dtypes.astype(str).tolist()[:2] == ["int64", "float64"]
    assert wheel_turning.curve([run(1, None, 0, 0, scores=None)]) is None  # an empty frame would freeze the plot's colours
