"""Running rails: NeMo Guardrails over a checked config, with somebody to judge for every rail.

A rail is judged by the model that its config names, where that is served here or says where it answers; else the offline rails
stand in, and the verdict says so. The library is imported when a rail first runs, and lives on a thread with an event loop of its
own, so that no rail keeps the platform from answering. It only ever judges: it never talks to the model that answers people.
"""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import threading
import warnings
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

from flywheel.local.base_model import SHIPPED_ID
from flywheel.local.engine import Engine
from flywheel.local.judges import Judge, RemoteJudge, ServedJudge
from flywheel.local.offline_rails import unsafe_answer, unsafe_request
from flywheel.local.rails_config import RailsData, Stage

if TYPE_CHECKING:
    from nemoguardrails.actions.rail_outcome import RailOutcome

T = TypeVar("T")
Status = Literal["blocked", "success", "unknown"]
Only = bool | list[str]
Act = Callable[..., Awaitable[Any]]

_KEPT = 8  # configs that stay built; building one takes a quarter of a second
# What the library answers, as if it were a refusal, when an action inside a rail failed.
_INTERNAL_ERROR = "I'm sorry, an internal error has occurred."
_STANDING_IN = {"judged_by": "offline rails"}


class RailsError(ValueError):
    """The library cannot make rails of the config; the text says why."""


class RailFailed(RuntimeError):
    """Whoever was to judge did not answer."""


class Verdict(NamedTuple):
    """What a stage's rails say of a text. `rails` are the library's activated rails as JSON, each with its `status`; `refusal` is
    what to answer where they block; `log` and `stats` are the library's."""

    status: Status
    rails: list[dict[str, Any]]
    refusal: str
    log: dict[str, Any]


class Rails:
    """Runs the rails of any number of configs. May be used from several event loops."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._built: OrderedDict[tuple[Any, ...], Any] = OrderedDict()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._starting = threading.Lock()

    async def validate(self, data: RailsData) -> None:
        """Raises RailsError where the library does not take the config."""
        await self._aside(lambda: self._rails(data, None))

    async def check(
        self, data: RailsData, model: str, stage: Stage, messages: list[dict[str, str]], only: Only = True
    ) -> Verdict:
        """Ask a stage's rails about the last of the messages; at `output`, the question and the answer to it.

        `model` judges where a config leaves it to the main model; `only` names the rails to run. Raises RailsError, RailFailed.
        """
        return await self._aside(lambda: self._check(data, model, stage, messages, only))

    async def _aside(self, act: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Await something on the rails' own loop."""
        with self._starting:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="rails", daemon=True).start()
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(act(), self._loop))

    async def _check(self, data: RailsData, model: str, stage: Stage, messages: list[dict[str, str]], only: Only) -> Verdict:
        rails = await self._rails(data, model)
        chosen = {name: False for name in ("input", "output", "dialog", "retrieval", "tool_input", "tool_output")}
        log = {"activated_rails": True, "llm_calls": True, "colang_history": True, "internal_events": True}
        try:
            result = await rails.generate_async(messages=messages, options={"rails": chosen | {stage: only}, "log": log})
        except Exception as error:
            raise RailFailed(f"a rail could not judge: {error}") from error
        finally:
            rails.events_history_cache.clear()  # the library keeps every conversation it saw
        return _verdict(result)

    async def _rails(self, data: RailsData, model: str | None) -> Any:
        judges, main = self._judges(data), self._served(model)
        key = (
            json.dumps(data.for_library(), sort_keys=True),
            *sorted((t, j.model_name) for t, j in judges.items()),
            main and model,
        )
        if key not in self._built:
            self._built[key] = _build(data, judges, main)
            while len(self._built) > _KEPT:
                self._built.popitem(last=False)
        self._built.move_to_end(key)
        return self._built[key]

    def _judges(self, data: RailsData) -> dict[str, Judge]:
        """Who judges, by the type that flows name; whoever is missing cannot be asked."""
        found: dict[str, Judge] = {}
        for one in data.models:
            judge = RemoteJudge(one.base_url, one.model or "") if one.base_url else self._served(one.model)
            if judge is not None and one.type != "main":
                found[one.type] = judge
        return found

    def _served(self, model: str | None) -> Judge | None:
        # The model that comes along only knows how to call tools: asked for a judgement, it says anything.
        if model is None or self._engine.base_id == SHIPPED_ID or model not in self._engine.models():
            return None
        return ServedJudge(self._engine, model)


def _build(data: RailsData, judges: dict[str, Judge], main: Judge | None) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the library reads a field that it has deprecated itself
        from nemoguardrails import LLMRails, RailsConfig

        logging.getLogger("nemoguardrails").setLevel(logging.ERROR)  # below that it tells the texts it judges
        try:
            rails = LLMRails(RailsConfig.from_content(config=data.for_library()), llm=main)
        except Exception as error:  # pydantic's, and a dozen of the library's own
            raise RailsError(f"NeMo Guardrails does not take this config: {error}") from error
    rails.register_action_param("llms", judges)
    for name, action in _actions(judges, main, {one.type: one.model or one.type for one in data.models}).items():
        rails.register_action(action, name)
    return rails


def _actions(judges: Mapping[str, Judge], main: Judge | None, names: Mapping[str, str]) -> dict[str, Act]:
    """The library's actions, and for each what stands in where its judge cannot be asked."""
    from nemoguardrails.actions.rail_outcome import RailOutcome
    from nemoguardrails.library.content_safety.actions import content_safety_check_input, content_safety_check_output
    from nemoguardrails.library.self_check.input_check.actions import self_check_input
    from nemoguardrails.library.self_check.output_check.actions import self_check_output
    from nemoguardrails.library.topic_safety.actions import topic_safety_check_input

    def outcome(found: list[str], instead_of: str) -> RailOutcome:
        evidence = {"policy_violations": found, **_STANDING_IN, "instead_of": instead_of}
        return RailOutcome.block(metadata=evidence) if found else RailOutcome.allow(metadata=evidence)

    def question(context: Mapping[str, Any], instead_of: str) -> RailOutcome:
        return outcome(unsafe_request(str(context.get("user_message") or "")), instead_of)

    def answer(context: Mapping[str, Any], instead_of: str) -> RailOutcome:
        return outcome(unsafe_answer(str(context.get("bot_message") or "")), instead_of)

    def nobody(_context: Mapping[str, Any], instead_of: str) -> RailOutcome:
        return RailOutcome.allow(metadata={"judged_by": None, "instead_of": instead_of})

    def unless_judged(action: Act, stand_in: Callable[[Mapping[str, Any], str], RailOutcome], task: str = "") -> Act:
        @functools.wraps(action)  # the library looks at the parameters to know what to give
        async def act(**given: Any) -> Any:
            context = given.get("context") or {}
            kind = task or str(given.get("model_name") or context.get("model"))
            if kind in judges or (task and main is not None):
                return await action(**given)
            return stand_in(context, names.get(kind, "the main model"))

        return act

    async def jailbreak(context: Mapping[str, Any] | None = None, **_: Any) -> RailOutcome:
        return question(context or {}, "jailbreak detection")

    return {
        "content_safety_check_input": unless_judged(content_safety_check_input, question),
        "content_safety_check_output": unless_judged(content_safety_check_output, answer),
        "topic_safety_check_input": unless_judged(topic_safety_check_input, nobody),
        "self_check_input": unless_judged(self_check_input, question, "self_check_input"),
        "self_check_output": unless_judged(self_check_output, answer, "self_check_output"),
        "jailbreak_detection_heuristics": jailbreak,
        "jailbreak_detection_model": jailbreak,
    }


def _verdict(result: Any) -> Verdict:
    from pydantic_core import to_jsonable_python

    said = result.response[-1]["content"]
    log = to_jsonable_python(result.log, fallback=str)
    rails = log.pop("activated_rails")
    for rail in rails:
        evidence = _evidence(rail)
        rail["additional_info"] = {
            key: evidence[key] for key in ("judged_by", "instead_of", "policy_violations") if key in evidence
        }
        unknown = evidence.get("judged_by", "") is None or (rail["stop"] and said == _INTERNAL_ERROR)
        rail["status"] = "unknown" if unknown else "blocked" if rail["stop"] else "success"
    statuses = [rail["status"] for rail in rails]
    # No rail at all has judged nothing.
    worst: Status = "blocked" if "blocked" in statuses else "unknown" if "unknown" in statuses or not statuses else "success"
    return Verdict(worst, rails, said, log)


def _evidence(rail: Mapping[str, Any]) -> dict[str, Any]:
    values = [action["return_value"] for action in rail["executed_actions"] if isinstance(action["return_value"], dict)]
    return next((value["metadata"] for value in reversed(values) if isinstance(value.get("metadata"), dict)), {})
