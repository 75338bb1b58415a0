"""The command line, as a shell sees it: output, exit codes, and one JSON object where it was asked for."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from lamps import lamp_row

from flywheel.__main__ import main
from flywheel.rows import read_rows, to_openai
from flywheel.settings import Settings
from flywheel.store import Store
from tests.conftest import fix_sides, start_platform, stop_platform

ECHO = {
    "type": "function",
    "function": {
        "name": "echo",
        "description": "Say it again",
        "parameters": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
    },
}


def openai_row(question: str, text: str, tool: str = "echo") -> dict[str, Any]:
    """An OpenAI row that calls a tool."""
    call = {"id": "call_1", "type": "function", "function": {"name": tool, "arguments": json.dumps({"text": text})}}
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": None, "tool_calls": [call]}]
    return {"messages": messages, "tools": [ECHO]}


def write_rows(path: Path, rows: list[Any]) -> Path:
    """A JSON Lines file."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder of its own, and no services named."""
    for name in ("NEMO_URL", "NDS_URL", "NIM_URL", "BASE_MODEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FLYWHEEL_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def same_sides(home: Path) -> None:
    """Fix the sides in this state folder."""
    store = Store(Settings(home=home).prepare().store_path)
    fix_sides(store.database)
    store.close()


def flywheel(*arguments: str | Path, code: int = 0) -> Result:
    """Run the command and check its exit code."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == code, (result.output, result.exception)
    return result


def flywheel_json(*arguments: str | Path, code: int = 0) -> dict[str, Any]:
    """Run the command with --json; standard output must be one line with one object."""
    result = flywheel(*arguments, "--json", code=code)
    assert result.stdout.count("\n") == 1, result.stdout
    value = json.loads(result.stdout)
    assert isinstance(value, dict)
    return value


def test_import_takes_good_rows_and_names_bad_ones_with_line_and_reason(tmp_path: Path) -> None:
    rows = [openai_row("Say hello", "hello"), openai_row("Say bye", "bye", tool="shout"), openai_row("Say yes", "yes")]
    file = write_rows(tmp_path / "rows.jsonl", rows)
    report = flywheel_json("import", file)
    assert (report["accepted"], report["known"]) == (2, 0)
    assert [problem["line"] for problem in report["problems"]] == [2]
    assert "shout" in report["problems"][0]["reason"]
    again = flywheel("import", file)
    assert "0 examples taken in, 2 known already" in again.stdout
    assert "line 2: " in again.stdout
    everyday = flywheel_json("import", "everyday")
    assert everyday["accepted"] > 900 and not everyday["problems"]


def test_import_fails_where_nothing_can_be_used(tmp_path: Path) -> None:
    flywheel("import", write_rows(tmp_path / "bad.jsonl", [openai_row("Say x", "x", tool="shout")]), code=1)
    missing = flywheel("import", tmp_path / "none.jsonl", code=1)
    assert "none.jsonl" in missing.stderr and "Traceback" not in missing.output
    error = flywheel_json("import", tmp_path / "none.jsonl", code=1)
    assert error["kind"] == "InputError" and "none.jsonl" in error["error"]


@pytest.mark.parametrize("shape", ["openai", "xlam", "nemo-eval"])
def test_what_is_exported_can_be_imported_again(tmp_path: Path, shape: str) -> None:
    rows = [openai_row(f"Say {word}", word) for word in ("hello", "bye", "yes")]
    flywheel("import", write_rows(tmp_path / "rows.jsonl", rows))
    exported = flywheel_json("export", tmp_path / "out.jsonl", "--format", shape)
    assert (exported["rows"], exported["left_out"]) == (3, 0)
    original = {row.question: row.calls for _, row in read_rows(tmp_path / "rows.jsonl").rows}
    assert {row.question: row.calls for _, row in read_rows(tmp_path / "out.jsonl").rows} == original


def test_xlam_export_says_what_does_not_fit(tmp_path: Path) -> None:
    messages = [{"role": "user", "content": "Thanks"}, {"role": "assistant", "content": "You are welcome"}]
    text = {"messages": messages, "tools": [ECHO]}
    flywheel("import", write_rows(tmp_path / "rows.jsonl", [openai_row("Say hello", "hello"), text]))
    assert flywheel_json("export", tmp_path / "out.jsonl", "--format", "xlam")["left_out"] == 1
    assert "1 do not fit" in flywheel("export", tmp_path / "out.jsonl", "--format", "xlam").stdout


def test_export_to_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    assert "cannot write" in flywheel_json("export", tmp_path, "--format", "openai", code=1)["error"]


def test_run_needs_examples(home: Path) -> None:
    assert "no examples" in flywheel("run", code=1).stderr
    assert flywheel_json("run", code=1)["kind"] == "InputError"
    assert flywheel_json("runs") == {"runs": []}


def test_a_run_without_a_launcher_waits_for_one(tmp_path: Path) -> None:
    flywheel("import", write_rows(tmp_path / "rows.jsonl", [openai_row("Say hello", "hello")]))
    result = flywheel("run", "--json")
    asked = json.loads(result.stdout)
    assert asked["status"] == "queued" and "make chat" in result.stderr
    assert asked["id"] in flywheel("runs").stdout
    assert flywheel_json("show", asked["id"])["id"] == asked["id"]
    assert "under way" in flywheel_json("run", code=1)["error"]


def test_models_and_roll_back_before_any_promotion() -> None:
    listed = flywheel_json("models")
    assert listed["served"]["model"] == "local/tool-llama-5m"
    assert [model["status"] for model in listed["models"]] == ["base"]
    assert "* local/tool-llama-5m" in flywheel("models").stdout
    assert "nothing to roll back" in flywheel_json("rollback", code=1)["error"]


@pytest.mark.parametrize("command", [["show", "run-none"], ["cancel", "run-none"], ["promote", "none/such@v1"]])
def test_unknown_things_are_named(command: list[str]) -> None:
    error = flywheel_json(*command, code=1)
    assert error["kind"] == "NotFound" and command[1] in error["error"]


def test_some_urls_only_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEMO_URL", "http://127.0.0.1:1")
    assert "NDS_URL" in flywheel_json("models", code=1)["error"]


def test_every_command_shows_an_example() -> None:
    assert len(main.commands) >= 11
    for name in main.commands:
        assert f"Example: flywheel {name}" in " ".join(flywheel(name, "--help").output.split()), name


@pytest.mark.slow
@pytest.mark.timeout(720)
def test_from_import_to_promotion_and_back_with_an_interrupt(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    same_sides(home)
    flywheel("import", write_rows(tmp_path / "rows.jsonl", [to_openai(lamp_row(number)) for number in range(30)]))
    run = interrupted_run(home)
    assert run["seconds"] > 0
    page = flywheel("show", run["id"]).stdout
    assert "gate      done" in page and f"{run['verdict']['verdict']}: " in page and "candidate" in page
    shown = flywheel_json("show", run["id"])
    assert shown["dataset"]["digest"] and shown["losses"]

    platform = start_platform(Settings(home=home).platform_home)  # each of the next commands would start one for itself
    for name, url in (("NEMO", platform.nemo_url), ("NDS", platform.nds_url), ("NIM", platform.nim_url)):
        monkeypatch.setenv(f"{name}_URL", url)
    monkeypatch.setenv("BASE_MODEL", "local/tool-llama-5m")
    try:
        scores_and_moves(run, write_rows(tmp_path / "unseen.jsonl", [to_openai(lamp_row(number)) for number in range(200, 220)]))
    finally:
        stop_platform(platform)


def interrupted_run(home: Path) -> dict[str, Any]:
    """Start a run that brings its platform, press Ctrl-C while it trains, give the same command again and wait."""
    command = [sys.executable, "-m", "flywheel", "run", "--wait", "--json"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None and first.stderr is not None
        assert any(line.startswith("train ") for line in first.stderr)
        first.send_signal(signal.SIGINT)
        rest = first.stderr.read()
        assert first.wait(60) == 1 and first.stdout.read() == ""
    assert "goes on with" in rest and "Traceback" not in rest and "WARNING" not in rest
    assert not (home / "platform.json").exists()

    second = subprocess.run(command, capture_output=True, text=True, timeout=480)
    assert second.returncode == 0, second.stderr
    run: dict[str, Any] = json.loads(second.stdout)
    assert run["id"] in rest and run["id"] in second.stderr
    assert run["status"] == "succeeded" and run["outcome"] in ("promoted", "waiting")
    assert not (home / "platform.json").exists()
    return run


def scores_and_moves(run: dict[str, Any], unseen: Path) -> None:
    """Evaluate the base and what the run trained, roll back and promote."""
    scores = [
        flywheel_json("evaluate", "--model", model, "--data", unseen) for model in ("local/tool-llama-5m", run["candidate"])
    ]
    assert [score["count"] for score in scores] == [20, 20]
    assert scores[0]["function_name_and_args_accuracy"] < scores[1]["function_name_and_args_accuracy"]
    assert scores[1]["tools"]["set_lamp"]["count"] == 20
    assert "no/such" in flywheel_json("evaluate", "--model", "no/such", "--data", unseen, code=1)["error"]

    if run["outcome"] == "waiting":  # what the small model forgets beside learning differs from run to run
        assert flywheel_json("promote", run["candidate"], "--reason", "it sets lamps")["changed"]
    assert flywheel_json("rollback")["served"] == "local/tool-llama-5m"
    assert flywheel_json("promote", run["candidate"], "--reason", "better")["changed"]
    moves = flywheel_json("models")["promotions"]
    assert [move["kind"] for move in moves] == ["promote", "rollback", "promote", "first"]
    assert moves[0]["reason"] == "better"


@pytest.mark.slow
def test_local_starts_the_platform_by_itself(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "flywheel", "local", "--home", str(tmp_path / "p"), "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        process.terminate()
        assert process.wait(30) == 0
    assert said["pid"] == process.pid and set(said) == {"nemo_url", "nds_url", "nim_url", "pid"}
