"""Templates of evaluation configs: text by text, or through a whole JSON value, rendered by a process of its own.

That process (`template_sandbox`) is small, and is ended where a template takes too much time or memory; it is started at the
first template, and again after that. Knows a pipe and a clock. Knows neither Jinja nor any task, metric or model.
"""

from __future__ import annotations

import atexit
import json
import selectors
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flywheel.local.template_sandbox import TaskError as TaskError

LONGEST_SECONDS = 60.0
"""By the clock; the process itself counts what it works."""
_ROOT = Path(__file__).parent.parent.parent


def rendered(value: Any, context: Mapping[str, Any], where: str) -> Any:
    """The value with every string in it rendered. Raises TaskError, which names the place by `where`.

    A string that is one expression and renders to a JSON object or list becomes that, and so do messages and tools.
    """
    return _PROCESS.ask({"value": value, "context": context, "where": where, "whole": True})


def render(template: str, context: Mapping[str, Any], where: str, *, strict: bool = False) -> str:
    """The template's text. strict: a value that is missing is an error instead of nothing. Raises TaskError."""
    asked = {"value": template, "context": context, "where": where, "whole": False, "strict": strict}
    return str(_PROCESS.ask(asked))


class _Process:
    """The rendering process; one request at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # protects the pipe: an answer belongs to the request before it
        self._process: subprocess.Popen[str] | None = None

    def ask(self, asked: dict[str, Any]) -> Any:
        """What it answers. Raises TaskError."""
        line = json.dumps(asked) + "\n"
        with self._lock:
            answer = self._sent(line)
            if answer is None:
                self._end()
                raise TaskError(f"the template of {asked['where']!r} takes too much time or memory; make it smaller")
        found = json.loads(answer)
        if "error" in found:
            raise TaskError(found["error"])
        return found["value"]

    def _sent(self, line: str) -> str | None:
        """The answer's line; None where none came in time."""
        if self._process is None or self._process.poll() is not None:
            self._end()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "flywheel.local.template_sandbox"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                text=True, encoding="utf-8", cwd=_ROOT, start_new_session=True,
            )  # fmt: skip
        assert self._process.stdin and self._process.stdout
        try:
            self._process.stdin.write(line)
            self._process.stdin.flush()
        except BrokenPipeError:
            return None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            return (self._process.stdout.readline() or None) if selector.select(LONGEST_SECONDS) else None

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


_PROCESS = _Process()
atexit.register(_PROCESS._end)
