"""`flywheel doctor`: looks at the installation, the state folder and the services, and says what is missing and what to do.

Only looks: makes no folder, migrates nothing, starts nothing. Works with no service, and says so where one does not answer: all
are asked at once and no answer is waited for longer than DEADLINE_SECONDS. Never shows a key or a password. Knows nothing of how
a service is asked.
"""

from __future__ import annotations

import importlib.metadata
import platform as machine
import re
import shutil
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, urlsplit

import click
from sqlite_utils import Database as SqliteUtils

from flywheel.cli_shell import Output, json_option
from flywheel.errors import FlywheelError, InputError
from flywheel.findings import Finding, Level, healthy, page
from flywheel.migrations import MIGRATIONS
from flywheel.platform import running_platform
from flywheel.settings import Settings

if TYPE_CHECKING:
    from flywheel.nemo import Nemo

DEADLINE_SECONDS = 9.0
SCARCE_BYTES, LITTLE_BYTES = 200 * 10**6, 2 * 10**9
"""Free disk below which nothing works for long, and below which a run may fail: datasets, adapters and checkpoints are kept."""
PACKAGES = (
    "nemo-microservices",
    "huggingface_hub",
    "openai",
    "nemoguardrails",
    "langchain-nvidia-ai-endpoints",
    "gradio",
    "dbos",
)
SERVED = "SELECT s.model, s.since, m.base_model FROM served s JOIN models m ON m.id = s.model"
LOCAL_PACKAGES = ("torch", "transformers", "peft", "llguidance", "psutil")


class Look(NamedTuple):
    """Something to ask over HTTP. level, todo: of the finding where it does not answer."""

    topic: str
    ask: Callable[[], list[Finding]]
    level: Level
    todo: str


class State(NamedTuple):
    """What the store says: findings, and the model that serves (None where that is the base model)."""

    findings: list[Finding]
    serving: str | None


@click.command()
@json_option
@click.pass_obj
def doctor(output: Output) -> None:
    """Look at installation, state folder and services: what answers, which versions, what is missing, what to do.

    Exit code 1 if there is a problem. Starts and changes nothing.

    Example: flywheel doctor
    """
    findings = examine()
    value = {"ok": healthy(findings), "findings": [finding._asdict() for finding in findings]}
    output.result(value, page(findings))
    if not healthy(findings):
        sys.exit(1)


def examine() -> list[Finding]:
    """All findings, in the order in which they are shown."""
    try:
        settings = Settings.from_environment()
    except InputError as error:
        return [*_installation(local=False), Finding("problem", "settings", str(error), "set them, then ask again")]
    try:
        folder, state = _folder(settings.home), _store(settings)
    except OSError as error:  # not ours to enter, or no name that a folder may have
        what = f"{settings.home} cannot be looked at: {error.strerror}"
        folder, state = [Finding("problem", "state folder", what, "set FLYWHEEL_HOME to a folder of yours")], State([], None)
    findings = [*_installation(settings.local), _key(settings), *folder, *state.findings]
    malformed = list(_malformed(settings))
    findings += malformed or _services(settings, state.serving or settings.base_model)
    secrets = _secrets(settings)
    return [Finding(f.level, f.topic, _hidden(f.what, secrets), _hidden(f.todo, secrets)) for f in findings]


# this machine --------------------------------------------------------------------------------------------------------


def _installation(local: bool) -> list[Finding]:
    """Python and the packages that matter. local: whether the local platform's are needed."""
    findings = [Finding("ok", "Python", f"{machine.python_version()} on {machine.system()} {machine.machine()}")]
    for topic, names, needed, hint in (
        ("packages", PACKAGES, True, "`make setup`, or pip install -e ."),
        (
            "local platform",
            LOCAL_PACKAGES,
            local,
            "`make setup`, or pip install -e '.[local]', or set NEMO_URL, NDS_URL and NIM_URL",
        ),
    ):
        versions = {name: _version(name) for name in names}
        missing = [name for name, version in versions.items() if version is None]
        found = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
        if missing and needed:
            findings.append(Finding("problem", topic, f"missing: {', '.join(missing)}; found: {found or 'none'}", hint))
        else:
            findings.append(Finding("ok", topic, found or "its packages are not installed; they are not needed here"))
    return findings


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _key(settings: Settings) -> Finding:
    """Whether a key is set where one is needed; never which."""
    if settings.api_key:
        return Finding("ok", "API key", "NVIDIA_API_KEY is set; it is sent to NIM, the teacher and the content-safety NIM only")
    if settings.teacher_model and not settings.teacher_url:
        return Finding("warning", "API key", "NVIDIA_API_KEY is not set, and the teacher is of NVIDIA's catalog", "set it")
    return Finding("ok", "API key", "NVIDIA_API_KEY is not set; services of your own need none")


def _folder(home: Path) -> list[Finding]:
    """The state folder: whether it is there, who may read it, and the room on its disk."""
    there = next(folder for folder in (home, *home.parents) if folder.exists())
    free = shutil.disk_usage(there).free
    room = f"{free / 10**9:.1f} GB free"
    if free < SCARCE_BYTES:
        space = [Finding("problem", "disk", f"{room} at {there}", "make room, or set FLYWHEEL_HOME to a folder elsewhere")]
    elif free < LITTLE_BYTES:
        space = [Finding("warning", "disk", f"{room} at {there}; a run may need more", "make room")]
    else:
        space = [Finding("ok", "disk", room)]
    if there != home:
        return [Finding("ok", "state folder", f"{home} is not there yet; the first command makes it"), *space]
    if not home.is_dir():
        return [Finding("problem", "state folder", f"{home} is no folder", "set FLYWHEEL_HOME to a folder of yours")]
    mode = home.stat().st_mode & 0o777
    if mode & 0o077:
        todo = f"chmod 700 {home} (`make chat` and every other command does so too)"
        return [Finding("warning", "state folder", f"{home}, mode {mode:04o}: others on this machine may read it", todo), *space]
    return [Finding("ok", "state folder", f"{home}, mode {mode:04o}"), *space]


# the store -----------------------------------------------------------------------------------------------------------


def _store(settings: Settings) -> State:
    """The store's schema, the model that serves and the run that is under way; read only."""
    path = settings.store_path
    if not path.is_file():
        return State([Finding("ok", "store", "nothing is stored yet")], None)
    try:
        connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=2)
        try:
            findings = [_schema(path, SqliteUtils(connection))]
            served = connection.execute(SERVED).fetchone()
            run = connection.execute("SELECT id, status FROM runs WHERE status IN ('queued', 'running')").fetchone()
        finally:
            connection.close()
    except sqlite3.Error as error:
        todo = "if it is locked, ask again; if it is damaged, put a copy in its place"
        return State([Finding("problem", "store", f"{path} cannot be read: {error}", todo)], None)
    if served and served[2] != settings.base_model:
        what = f"{served[0]} of another base model; {settings.base_model} takes its place at the next start"
        findings.append(Finding("ok", "served model", what))
        served = None
    elif served:
        findings.append(Finding("ok", "served model", f"{served[0]} answers the chat, since {served[1][:16]}"))
    findings.append(_run(settings, run[0], run[1]) if run else Finding("ok", "runs", "none is under way"))
    return State(findings, served[0] if served else None)


def _schema(path: Path, database: SqliteUtils) -> Finding:
    known = [migration.name for migration in MIGRATIONS.pending(SqliteUtils(memory=True))]
    applied = [migration.name for migration in MIGRATIONS.applied(database)]
    version = f"{path.name}, schema {applied[-1] if applied else 'none'}"
    if strange := [name for name in applied if name not in known]:
        return Finding(
            "problem", "store", f"{version}: made by a later version of this program ({', '.join(strange)})", "update it"
        )
    waiting = len(known) - len(applied)
    return Finding("ok", "store", f"{version}{f'; {waiting} migrations are applied at the next start' if waiting else ''}")


def _run(settings: Settings, run_id: str, status: str) -> Finding:
    from flywheel.runs import launcher_running  # takes a moment, and mostly no run is under way

    try:
        worked = launcher_running(settings)
    except OSError as error:
        return Finding("problem", "runs", f"{run_id} is {status}, and its lock cannot be asked: {error}", "mend the permissions")
    if worked:
        return Finding("ok", "runs", f"{run_id} is {status}; a process works it off")
    return Finding(
        "warning", "runs", f"{run_id} is {status}, and no process works it off", "`make chat` or `flywheel run --wait`"
    )


# the services --------------------------------------------------------------------------------------------------------


def _malformed(settings: Settings) -> Iterable[Finding]:
    """Addresses that are none."""
    for name, url in _addresses(settings).items():
        try:
            good = urlsplit(url).scheme in ("http", "https") and bool(urlsplit(url).hostname)
        except ValueError:
            good = False
        if not good:
            yield Finding("problem", name, f"{url!r} is no address", "give one such as http://nemo.test")


def _addresses(settings: Settings) -> dict[str, str]:
    named = {
        "NEMO_URL": settings.nemo_url,
        "NDS_URL": settings.nds_url,
        "NIM_URL": settings.nim_url,
        "TEACHER_URL": settings.teacher_url,
        "CONTENT_SAFETY_URL": settings.content_safety_url,
    }
    return {name: url for name, url in named.items() if url}


def _services(settings: Settings, serving: str) -> list[Finding]:
    """Which services are used, and what answers there."""
    findings = []
    todo = "check the address, and that the service runs and can be reached from here"
    if settings.local:
        running = running_platform(settings)
        if running is None:
            return [Finding("ok", "services", "the local platform (no NEMO_URL); it is not running, and `make chat` starts it"),
                    *_asked(_optional(settings))]  # fmt: skip
        settings, todo = running.settings, f"wait if it is starting, else look at {settings.home / 'platform.log'}"
        kept = f"process {running.owner} looks after it" if running.owner else "nobody looks after it"
        findings.append(Finding("ok", "services", f"the local platform, process {running.pid}; {kept}"))
    else:
        named = " ".join(
            f"{name}={url}" for name, url in _addresses(settings).items() if name in ("NEMO_URL", "NDS_URL", "NIM_URL")
        )
        findings.append(Finding("ok", "services", f"{named} (API v1, the 25.x line)"))
    from flywheel import probe  # takes a second to import
    from flywheel.nemo import Nemo

    with closing(Nemo(settings, probe.HURRIED)) as nemo:
        return findings + _asked([*_required(settings, nemo, serving, todo), *_optional(settings)])


def _required(settings: Settings, nemo: Nemo, serving: str, todo: str) -> list[Look]:
    from flywheel import probe

    return [
        Look("Data Store", lambda: probe.look_at_data_store(settings), "problem", todo),
        Look("Entity Store", lambda: probe.look_at_entity_store(settings), "problem", todo),
        Look("Customizer", lambda: probe.look_at_customizer(settings, nemo), "problem", todo),
        Look("Evaluator", lambda: probe.look_at_evaluator(settings), "problem", todo),
        Look("NIM", lambda: probe.look_at_nim(settings, nemo, serving), "problem", _without_v1(settings.nim_url) or todo),
        Look("Intake", lambda: probe.look_at_intake(settings), "warning", todo),
    ]


def _without_v1(url: str | None) -> str:
    """What to do where the address is that of the OpenAI routes, as other programs want it."""
    return "leave the /v1 of NIM_URL out: it is added here" if f"{url}".rstrip("/").endswith("/v1") else ""


def _optional(settings: Settings) -> list[Look]:
    """The teacher, without whom only suggestions are missing, and the content-safety NIM, which every message is put to."""
    from flywheel import probe

    looks = []
    if settings.teacher_model:
        todo = "check TEACHER_URL, or unset TEACHER_MODEL: reviewers go without suggestions"
        looks.append(Look("teacher", lambda: probe.look_at_teacher(settings), "warning", todo))
    if settings.content_safety_url:
        todo = "check CONTENT_SAFETY_URL, or unset it to use the offline rails only"
        looks.append(Look("content safety", lambda: probe.look_at_content_safety(settings), "problem", todo))
    return looks


def _asked(looks: list[Look]) -> list[Finding]:
    """The findings of all looks, which are made at the same time; one that takes too long is left behind."""
    found: dict[str, list[Finding]] = {}

    def run(look: Look) -> None:
        try:
            found[look.topic] = look.ask()
        except FlywheelError as error:
            found[look.topic] = [Finding(look.level, look.topic, str(error), look.todo)]
        except Exception as error:  # whatever a stranger's answer does to us is a finding, too
            found[look.topic] = [Finding(look.level, look.topic, f"its answer cannot be understood: {error!r:.200}", look.todo)]

    deadline = time.monotonic() + DEADLINE_SECONDS
    # Daemons: looking up a name may hang beyond every limit of a client, and must not keep the command from ending.
    threads = [threading.Thread(target=run, args=(look,), daemon=True) for look in looks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    late = f"did not answer within {DEADLINE_SECONDS:.0f} s"
    return [f for look in looks for f in found.get(look.topic) or [Finding(look.level, look.topic, late, look.todo)]]


# secrets -------------------------------------------------------------------------------------------------------------


def _secrets(settings: Settings) -> list[str]:
    """What must not be shown, wherever it turns up: the key, and names and passwords inside addresses."""
    inside = [secret for url in _addresses(settings).values() for secret in re.findall(r"//([^/\s]+)@", url)]
    return [secret for secret in (settings.api_key, *inside) if secret]


def _hidden(text: str, secrets: list[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, "***")
    return text
