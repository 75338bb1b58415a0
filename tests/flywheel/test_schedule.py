"""When the wheel turns by itself: times, thresholds, quiet hours, and what was missed while nobody was there."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from lamps import lamp_row

from flywheel.__main__ import main
from flywheel.errors import InputError
from flywheel.history import Run, RunRecords
from flywheel.ledger import Ledger
from flywheel.policy import read_policy
from flywheel.promote import Registry
from flywheel.runs import Wheel, request, schedule_of
from flywheel.schedule import Policy, Schedule, after_quiet, said
from flywheel.settings import Settings
from flywheel.store import Store
from tests.benchmarks.poison import approve_all, colluding, honest

NOON = datetime(2026, 3, 10, 11, tzinfo=UTC)
"""A Tuesday, twelve o'clock in Berlin."""


@pytest.fixture(autouse=True)
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    opened = Store(settings.store_path)
    Registry(opened.database).begin(settings.base_model)
    yield opened
    opened.close()


def learn(store: Store, first: int, count: int) -> None:
    rows = enumerate(map(lamp_row, range(first, first + count)), 1)
    Ledger(store.database).add_import("lamps.jsonl", "0" * 64, rows, [], "a developer")


def began(store: Store, policy: Policy, moment: datetime) -> Run | None:
    """The run that begins by itself at the moment."""
    return Schedule(store.database, lambda: policy).begin_due(lambda cause: request(store, cause), moment)


def end(store: Store, run: Run, status: str = "succeeded") -> None:
    """End a run that used every example, or failed before it did."""
    ledger, records = Ledger(store.database), RunRecords(store.database)
    if status == "succeeded":
        ledger.save_dataset(run.id, "d", {}, {example.id: "train" for example in ledger.examples()})
        records.finish(run.id, "succeeded", outcome="waiting")
    else:
        records.finish(run.id, "failed", error="the platform was away")


def hours(number: float) -> timedelta:
    return timedelta(hours=number)


def test_what_was_missed_runs_once_and_only_if_there_is_something_new(store: Store) -> None:
    nightly = Policy(cron="0 2 * * *")
    learn(store, 0, 3)
    assert began(store, nightly, NOON) is None  # just written: last night is not caught up on
    assert began(store, nightly, NOON + hours(13.9)) is None
    run = began(store, nightly, NOON + hours(24 * 5))  # five nights off
    assert run is not None and run.requested_by == "schedule"
    assert began(store, nightly, NOON + hours(24 * 5 + 0.1)) is None
    end(store, run)
    assert began(store, nightly, NOON + hours(24 * 5 + 0.2)) is None
    assert began(store, nightly, NOON + hours(24 * 6)) is None  # two o'clock came, nothing was new, and it passed
    learn(store, 10, 1)
    assert began(store, nightly, NOON + hours(24 * 6 + 1)) is None
    assert began(store, nightly, NOON + hours(24 * 7)) is not None


def test_a_time_that_comes_during_a_run_is_kept_until_its_end(store: Store) -> None:
    hourly = Policy(cron="0 * * * *")
    learn(store, 0, 3)
    began(store, hourly, NOON + hours(0.5))
    run = request(store, "me")
    assert began(store, hourly, NOON + hours(1.1)) is None
    end(store, run)
    learn(store, 10, 1)
    late = began(store, hourly, NOON + hours(1.2))
    assert late is not None and late.requested_by == "schedule"


def test_so_many_new_rows_begin_a_run_and_a_failed_one_is_not_tried_for_ever(store: Store) -> None:
    policy = Policy(new_rows=5)
    learn(store, 0, 4)
    assert began(store, policy, NOON) is None
    outlook = Schedule(store.database, lambda: policy).outlook(NOON)
    assert (outlook.new_rows, outlook.wanted, outlook.words(NOON)) == (4, 5, "4 of 5 new rows.")
    learn(store, 10, 1)
    run = began(store, policy, NOON)
    assert run is not None and run.requested_by == "threshold"
    end(store, run, "failed")
    assert began(store, policy, NOON) is None
    learn(store, 20, 5)
    assert began(store, policy, NOON) is not None


def test_rows_in_quarantine_are_no_new_rows_and_a_flood_begins_no_run(settings: Settings, store: Store) -> None:
    policy = settings.home / "policy.toml"
    policy.write_text("[schedule]\nnew_rows = 20\n")
    schedule = schedule_of(settings, store)
    approve_all(store, honest(12))
    approve_all(store, colluding(2, each=4))  # with the honest ones twenty
    assert schedule.outlook(NOON).new_rows == 20
    assert schedule.begin_due(lambda cause: request(store, cause), NOON) is None
    assert schedule.outlook(NOON).words(NOON) == "12 of 20 new rows."
    policy.write_text("[schedule]\nnew_rows = 12\n")
    assert schedule.begin_due(lambda cause: request(store, cause), NOON) is not None


def test_in_quiet_hours_nothing_begins_and_what_is_due_begins_after_them(store: Store) -> None:
    policy = Policy(new_rows=1, quiet_hours="08:00-18:00")
    learn(store, 0, 2)
    assert began(store, policy, NOON) is None
    outlook = Schedule(store.database, lambda: policy).outlook(NOON)
    assert outlook.due == "threshold"
    assert outlook.words(NOON) == "A run is due and begins after the quiet hours: tonight 18:00. 2 of 1 new rows."
    assert began(store, policy, NOON + hours(5.9)) is None
    assert began(store, policy, NOON + hours(6)) is not None


@pytest.mark.parametrize(
    ("quiet", "moment", "begins"),
    [
        ("08:00-18:00", NOON, NOON + hours(6)),
        ("22:00-06:00", NOON, NOON),
        ("22:00-06:00", NOON + hours(11), NOON + hours(18)),
        ("22:00-06:00", NOON + hours(17), NOON + hours(18)),
        ("", NOON, NOON),
    ],
)
def test_quiet_hours_may_go_over_midnight(quiet: str, moment: datetime, begins: datetime) -> None:
    assert after_quiet(Policy(quiet_hours=quiet).quiet(), moment) == begins


def test_a_time_that_the_clocks_skip_or_repeat_runs_once() -> None:
    policy = Policy(cron="30 2 * * *")
    skipped = policy.next_after(datetime(2026, 3, 28, 12, tzinfo=UTC))
    assert skipped == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)  # there is no 02:30: half past three
    repeated = policy.next_after(datetime(2026, 10, 24, 12, tzinfo=UTC))
    assert repeated == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert policy.next_after(repeated + hours(0.1)) == datetime(2026, 10, 26, 1, 30, tzinfo=UTC)
    often, again = Policy(cron="*/10 * * * *"), repeated + hours(0.6)  # in the hour that comes a second time
    assert often.next_after(again) == repeated + hours(2 / 3)


@pytest.mark.parametrize(
    ("policy", "fault"),
    [
        (Policy(cron="61 2 * * *"), "Bad minute"),
        (Policy(cron="* * * * * *"), "five fields"),
        (Policy(cron="0 0 30 2 *"), "cron in"),
        (Policy(quiet_hours="8-18"), "quiet_hours"),
        (Policy(quiet_hours="25:00-26:00"), "quiet_hours"),
    ],
)
def test_what_is_wrong_is_said_and_begins_nothing(store: Store, policy: Policy, fault: str) -> None:
    learn(store, 0, 2)
    assert fault in Schedule(store.database, lambda: policy).outlook(NOON).words(NOON)
    assert began(store, policy, NOON + hours(999)) is None
    with pytest.raises(InputError, match=fault):
        policy.next_after(NOON), policy.quiet()


def test_times_are_said_as_people_say_them() -> None:
    at = [NOON + hours(number) for number in (2, 14, 21, 24 * 5)]
    assert [said(when, NOON) for when in at] == ["today 14:00", "tonight 02:00", "tomorrow 09:00", "Sunday 15 March 12:00"]


def test_the_launcher_begins_what_is_due_as_the_file_says(
    settings: Settings, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    learn(store, 0, 3)
    file = settings.home / "policy.toml"
    assert read_policy(settings.home).schedule == Policy()
    file.write_text('[schedule]\ncron = "nonsense"\n')
    nowhere = settings.with_urls(*["http://127.0.0.1:9"] * 3)
    wheel = Wheel(nowhere, store)
    assert wheel.launch() and "five fields" in caplog.text
    file.write_text("[schedule]\nnew_rows = 3\n")
    deadline = time.monotonic() + 10
    while not (runs := RunRecords(store.database).runs()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert runs[0].requested_by == "threshold"
    wheel.cancel(runs[0].id, "me")
    wheel.shutdown()


def test_the_command_says_when_and_why(settings: Settings) -> None:
    assert os.environ["FLYWHEEL_HOME"] == str(settings.home)
    said = CliRunner().invoke(main, ["schedule"])
    assert said.exit_code == 0 and "Runs begin by hand" in said.stdout and "make chat" in said.stderr
    Path(settings.home / "policy.toml").write_text('[schedule]\ncron = "0 2 * * *"\n')
    said = CliRunner().invoke(main, ["schedule", "--json"])
    assert '"due": null' in said.stdout and ":00:00+00:00" in said.stdout
