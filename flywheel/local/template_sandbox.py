"""`python -m flywheel.local.template_sandbox`: Jinja templates of evaluation configs, rendered in a sandbox and a small process.

Reads requests and writes answers, a JSON text a line each (see `templates`, which asks). Templates come from a client and rows
from people: what is rendered is data, no template reaches anything but the values that it is given, and none loops without end.
There are more ways to grow a text than can be forbidden one by one: so the process may have MEMORY_BYTES, and a request
CPU_SECONDS, after which the system ends it.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
from collections.abc import Mapping
from typing import Any

from jinja2 import StrictUndefined, TemplateError, Undefined, nodes
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

STRUCTURED = ("messages", "tools")
"""Fields of a request that are always JSON, however their template is written."""


MEMORY_BYTES, CPU_SECONDS = 256 * 2**20, 2.0
LONGEST_TEXT = 5_000_000
"""Characters that a template may give."""
DEEPEST_LOOP = 2
LONGEST_RANGE = 1000
_GROWING = ("center", "ljust", "rjust", "zfill", "expandtabs", "format", "format_map", "indent", "wordwrap", "batch", "slice")


class TaskError(ValueError):
    """A template does not fit a row; the text says which and why."""


def rendered(value: Any, context: Mapping[str, Any], where: str) -> Any:
    """The value with every string in it rendered. Raises TaskError, which names the place by `where`.

    A string that is one expression and renders to a JSON object, list or null becomes that, and so do those of STRUCTURED.
    """
    if isinstance(value, dict):
        return {key: rendered(item, context, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list):
        return [rendered(item, context, f"{where}[{i}]") for i, item in enumerate(value)]
    if not isinstance(value, str):
        return value
    text = render(value, context, where)
    json_like = text.lstrip()[:1] in ("{", "[") or text.strip() == "null"
    if where in STRUCTURED or (value.lstrip().startswith("{{") and json_like):
        try:
            return json.loads(text) if text.strip() else None
        except (ValueError, RecursionError):
            raise TaskError(f"the template of {where!r} renders to {text!r:.80}, not to JSON; end it with | tojson") from None
    return text


def render(template: str, context: Mapping[str, Any], where: str, *, strict: bool = False) -> str:
    """The template's text. strict: a value that is missing is an error instead of nothing. Raises TaskError."""
    environment = _STRICT if strict else _LENIENT
    try:
        text = environment.from_string(environment.checked(template)).render(context)
    except MemoryError:
        raise TaskError(f"the template of {where!r} needs more memory than {MEMORY_BYTES // 2**20} MB; make it smaller") from None
    except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RecursionError) as error:
        raise TaskError(f"the template of {where!r} cannot be rendered: {error}") from error
    if len(text) > LONGEST_TEXT:
        raise TaskError(f"the template of {where!r} gives more than {LONGEST_TEXT:,} characters; make it smaller")
    return text


class _Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, which keeps templates from reaching out, without loops that have no end and the plain ways to grow."""

    intercepted_binops = frozenset(("*", "**", "%"))

    def __init__(self, undefined: type[Undefined]) -> None:
        super().__init__(undefined=undefined)
        for name in _GROWING:
            self.filters.pop(name, None)
        self.filters["tojson"] = _tojson
        self.globals["range"] = _range

    def checked(self, template: str) -> nodes.Template:
        """The template as Jinja reads it. Raises SecurityError where it calls itself, or loops within loops within loops."""
        tree = self.parse(template)
        if next(tree.find_all((nodes.Macro, nodes.CallBlock, nodes.NSRef)), None) or _depth(tree) > DEEPEST_LOOP:
            raise SecurityError(f"macros, namespaces and loops more than {DEEPEST_LOOP} deep are not allowed")
        return tree

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Multiply numbers of a reasonable size only: a text times a number is as long as one likes."""
        limit = 1000 if operator == "**" else 10**9
        if not all(isinstance(side, int | float) and abs(side) <= limit for side in (left, right)):
            raise SecurityError(f"{operator!r} takes numbers up to {limit}")
        return super().call_binop(context, operator, left, right)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """No method that makes a text as wide as one likes."""
        return attr not in _GROWING and super().is_safe_attribute(obj, attr, value)


def _depth(node: nodes.Node) -> int:
    """How many loops stand within each other; one that may call itself counts as too many."""
    below = max((_depth(child) for child in node.iter_child_nodes()), default=0)
    return below + (1 + DEEPEST_LOOP * node.recursive if isinstance(node, nodes.For) else 0)


def _range(*bounds: int) -> range:
    found = range(*bounds)
    if len(found) > LONGEST_RANGE:
        raise SecurityError(f"a range is at most {LONGEST_RANGE} long")
    return found


def _tojson(value: Any) -> str:
    if isinstance(value, StrictUndefined):
        return str(value)  # raises, and names what is missing
    return json.dumps(None if isinstance(value, Undefined) else value, ensure_ascii=False)


# A row without tools is asked without tools; a row without ground truth would be scored as one where no call is right.
_LENIENT, _STRICT = _Sandbox(Undefined), _Sandbox(StrictUndefined)


def _answer(line: str) -> dict[str, Any]:
    asked = json.loads(line)
    try:
        if asked["whole"]:
            return {"value": rendered(asked["value"], asked["context"], asked["where"])}
        return {"value": render(asked["value"], asked["context"], asked["where"], strict=asked["strict"])}
    except TaskError as error:
        return {"error": str(error)}


def main() -> None:
    """Answer until standard input ends."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    for line in sys.stdin:
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)  # its signal ends the process, whatever it is in
        answer = json.dumps(_answer(line))
        signal.setitimer(signal.ITIMER_PROF, 0)
        sys.stdout.write(answer + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
