"""Guardrails: configs, checks and guarded completions, as NVIDIA's clients call them.

Knows the routes and the shape of their answers. `rails_config` says what a config may hold, `rails` runs its rails, and the
platform's own engine writes the answers between them. Guarded completions call no tools: ask NIM for those, after a check.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from pydantic import ValidationError

from flywheel.local import generation
from flywheel.local.answers import checked, deleted
from flywheel.local.engine import Engine
from flywheel.local.entities import changed
from flywheel.local.generation import Completion, Generation, UnknownModel
from flywheel.local.guardrails_bodies import CheckBody, GuardedChatBody, GuardedCompletionBody, Guarding, bounded, turns_of
from flywheel.local.listing import page_of
from flywheel.local.nim import EngineRoute, events, unless_gone
from flywheel.local.nim_bodies import several
from flywheel.local.nim_replies import chat_reply, chat_stream, text_reply, text_stream
from flywheel.local.rails import RailFailed, Rails, RailsError, Verdict
from flywheel.local.rails_config import SEEDS, GuardrailConfig, RailsData, Stage
from flywheel.local.rails_files import load
from flywheel.local.repos import Repos
from flywheel.local.state import Entity, Exists, Missing, State

_PATH = "/v1/guardrail"
_CONFIGS = _PATH + "/configs"
_CONFIG = _CONFIGS + "/{namespace}/{config_name}"


class Guardrails:
    """The routes under /v1/guardrail."""

    def __init__(self, state: State, repos: Repos, engine: Engine) -> None:
        """Writes down the configs that every service comes with, where they lack."""
        self._state, self._repos, self._engine = state, repos, engine
        self._rails = Rails(engine)
        for name, description, data in SEEDS:
            seed = GuardrailConfig(name=name, description=description, data=RailsData.model_validate(data))
            with suppress(Exists):
                state.create("guardrail_config", seed.namespace, seed.name, seed.model_dump(mode="json"))

    def router(self) -> APIRouter:
        """All routes."""
        routes = APIRouter(tags=["guardrail"], route_class=EngineRoute)
        routes.add_api_route(_CONFIGS, self._create, methods=["POST"])
        routes.add_api_route(_CONFIGS, self._list, methods=["GET"])
        routes.add_api_route(_CONFIG, self._read, methods=["GET"])
        routes.add_api_route(_CONFIG, self._change, methods=["PATCH"])
        routes.add_api_route(_CONFIG, self._delete, methods=["DELETE"])
        routes.add_api_route(_PATH + "/checks", self._check, methods=["POST"])
        routes.add_api_route(_PATH + "/chat/completions", self._chat, methods=["POST"], response_class=Response)
        routes.add_api_route(_PATH + "/completions", self._complete, methods=["POST"], response_class=Response)
        routes.add_api_route(_PATH + "/models", self._models, methods=["GET"])
        return routes

    # configs

    async def _create(self, body: dict[str, Any]) -> Entity:
        config = checked(GuardrailConfig, body)
        await self._validate(config.data)
        whole = config.model_dump(mode="json")
        return await run_in_threadpool(self._state.create, "guardrail_config", config.namespace, config.name, whole)

    def _list(self, request: Request) -> dict[str, Any]:
        return page_of(request, self._state, "guardrail_config")

    def _read(self, namespace: str, config_name: str) -> Entity:
        config = self._state.get("guardrail_config", namespace, config_name)
        if config is None:
            raise Missing(f"guardrail config '{namespace}/{config_name}' does not exist")
        return config

    async def _change(self, namespace: str, config_name: str, body: dict[str, Any]) -> Entity:
        whole = changed(GuardrailConfig, self._read(namespace, config_name), body)
        await self._validate(GuardrailConfig.model_validate(whole).data)
        return await run_in_threadpool(self._state.update, "guardrail_config", namespace, config_name, whole)

    def _delete(self, namespace: str, config_name: str) -> dict[str, str]:
        config = self._read(namespace, config_name)
        self._state.delete_by_id("guardrail_config", config["id"])
        return deleted(config["id"], f"guardrail config {namespace}/{config_name}")

    async def _validate(self, data: RailsData | None) -> None:
        if data is not None:
            try:
                await self._rails.validate(data)
            except RailsError as error:
                raise HTTPException(422, str(error)) from None

    def _models(self) -> dict[str, Any]:
        data = [
            {"id": model, "object": "model", "created": self._engine.created, "owned_by": "system"}
            for model in self._engine.models()
        ]
        return {"object": "list", "data": data}

    # checks and completions

    async def _check(self, body: CheckBody) -> dict[str, Any]:
        data = await run_in_threadpool(self._data, body.guardrails)
        question, answer = turns_of(body.messages)
        verdicts = await self._judged(data, body.guardrails, body.model, question)
        if answer is not None and not _blocked(verdicts):
            verdicts += await self._judged(data, body.guardrails, body.model, question, answer)
        rails = [rail for verdict in verdicts for rail in verdict.rails]
        return {
            "status": _overall(verdicts),
            "rails_status": {rail["name"]: {"status": rail["status"]} for rail in rails},
            "guardrails_data": _guardrails_data(body.guardrails, verdicts),
        }

    async def _chat(self, body: GuardedChatBody, http: Request) -> Response:
        data = await self._prepared(body.model, body.guardrails)
        question, _ = turns_of(body.messages)
        request = body.request()
        if (system := data.system_message()) and all(message.get("role") != "system" for message in body.messages):
            request = dataclasses.replace(request, messages=[{"role": "system", "content": system}, *body.messages])
        streamed = bool(body.stream or body.guardrails.stream)
        answer = await self._answered(data, body, question, request, http, live=streamed)
        if streamed:
            return events(chat_stream(answer.generation, body.model, body.include_usage))
        reply = chat_reply(await answer.generation.completion(), logprobs=bool(body.logprobs))
        return JSONResponse(_with_data(reply, body.guardrails, answer.verdicts))

    async def _complete(self, body: GuardedCompletionBody, http: Request) -> Response:
        data = await self._prepared(body.model, body.guardrails)
        prompts = several(body.prompt)
        if not all(isinstance(prompt, str) for prompt in prompts):
            raise HTTPException(422, "token ids cannot be judged; send the prompt as text")
        streamed = bool(body.stream or body.guardrails.stream)
        answers = []
        for prompt, request in zip(prompts, body.requests(), strict=True):
            answers.append(await self._answered(data, body, bounded(str(prompt)), request, http, live=streamed))
        generations = [answer.generation for answer in answers]
        if streamed:
            return events(text_stream(generations, body.model, body.include_usage))
        completions = [await generation.completion() for generation in generations]
        reply = text_reply(completions, logprobs=body.logprobs not in (None, False))
        return JSONResponse(_with_data(reply, body.guardrails, [verdict for answer in answers for verdict in answer.verdicts]))

    async def _prepared(self, model: str, guarding: Guarding) -> RailsData:
        if model not in self._engine.models():
            raise UnknownModel(model, self._engine.models())
        return await run_in_threadpool(self._data, guarding)

    async def _answered(
        self,
        data: RailsData,
        body: GuardedChatBody | GuardedCompletionBody,
        question: str,
        request: generation.Request,
        http: Request,
        *,
        live: bool,
    ) -> _Answer:
        """The answer between the rails: a refusal, or what the model says.

        `live` gives out one that is still being written, but only where no output rail may yet block it.
        """
        verdicts = await self._judged(data, body.guardrails, body.model, question)
        _must_be_known(verdicts)
        if _blocked(verdicts):
            return _Answer(_finished(_refusal(body.model, verdicts[-1], None)), verdicts)
        begun = await run_in_threadpool(self._engine.submit, request)
        if live and not (data.flows("output") and body.guardrails.only("output")):
            return _Answer(begun, verdicts)
        (completion,) = await unless_gone([begun], http)
        judged = await self._judged(data, body.guardrails, body.model, question, bounded(completion.content or ""))
        _must_be_known(judged)
        if _blocked(judged):
            completion = _refusal(body.model, judged[-1], completion)
        return _Answer(_finished(completion), [*verdicts, *judged])

    async def _judged(
        self, data: RailsData, guarding: Guarding, model: str, question: str, answer: str | None = None
    ) -> list[Verdict]:
        """The verdict on the question, or on the answer to it; none where no rail is to run."""
        stage: Stage = "input" if answer is None else "output"
        only = guarding.only(stage)
        if not only or not data.flows(stage):
            return []
        messages = [{"role": "user", "content": question}]
        if answer is not None:
            messages.append({"role": "assistant", "content": answer})
        try:
            return [await self._rails.check(data, model, stage, messages, only)]
        except RailsError as error:
            raise HTTPException(422, str(error)) from None
        except RailFailed as error:
            raise HTTPException(502, str(error)) from None

    def _data(self, guarding: Guarding) -> RailsData:
        """The configs of a request as one. Answers 404 where one does not exist, 422 where they make no sense."""
        names = guarding.named()
        inline = [guarding.config] if isinstance(guarding.config, RailsData) else []
        try:
            whole, *others = [*map(self._stored, names), *inline]
            for other in others:
                whole = whole.joined(other)
            return whole
        except ValidationError as error:
            raise HTTPException(422, "; ".join(str(problem["msg"]) for problem in error.errors())) from None
        except ValueError as error:
            raise HTTPException(422, str(error)) from None

    def _stored(self, name: str) -> RailsData:
        namespace, _, config_name = name.partition("/")
        config = GuardrailConfig.model_validate(self._read(namespace, config_name))
        return config.data or load(self._repos, str(config.files_url))


@dataclasses.dataclass(frozen=True)
class _Answer:
    """An answer, finished or in the making, and what rails said on the way."""

    generation: Generation
    verdicts: list[Verdict]


def _blocked(verdicts: Sequence[Verdict]) -> bool:
    return any(verdict.status == "blocked" for verdict in verdicts)


def _overall(verdicts: Sequence[Verdict]) -> str:
    """Where no rail ran, nothing is known."""
    if _blocked(verdicts):
        return "blocked"
    return "success" if verdicts and all(verdict.status == "success" for verdict in verdicts) else "unknown"


def _must_be_known(verdicts: Sequence[Verdict]) -> None:
    """Answer 503 where a rail was to judge and could not: nothing may pass it unseen."""
    for verdict in verdicts:
        if verdict.status == "unknown":
            rail = next((rail for rail in verdict.rails if rail["status"] == "unknown"), None)
            what = f"{rail['name']!r} needs {rail['additional_info'].get('instead_of', 'its model')}" if rail else "no rail ran"
            raise HTTPException(
                503, f"the rails could not judge: {what}, which cannot be asked here; take the rail out or serve it"
            )


def _refusal(model: str, verdict: Verdict, refused: Completion | None) -> Completion:
    """What is answered instead; the tokens of a refused answer were spent all the same."""
    return Completion(
        model=model,
        content=verdict.refusal,
        tool_calls=(),
        finish_reason="stop",
        prompt_tokens=refused.prompt_tokens if refused else 0,
        completion_tokens=refused.completion_tokens if refused else 0,
        mean_logprob=0.0,
    )


def _finished(completion: Completion) -> Generation:
    made = Generation(completion.prompt_tokens)
    made.add(completion.content or "", completion.tokens)
    made.finish(completion)
    return made


def _guardrails_data(guarding: Guarding, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    stats: dict[str, Any] = {}
    log: dict[str, Any] = {"activated_rails": []}
    for verdict in verdicts:
        log["activated_rails"] += [{key: rail[key] for key in rail if key != "status"} for rail in verdict.rails]
        for name, value in verdict.log["stats"].items():
            stats[name] = value if stats.get(name) is None else stats[name] + (value or 0)
        for name, wanted in guarding.options.log.model_dump().items():
            if wanted and verdict.log.get(name):
                log[name] = verdict.log[name] if name not in log else log[name] + verdict.log[name]
    return {"config_ids": guarding.named(), "log": {**log, "stats": stats}, "llm_output": None, "output_data": None}


def _with_data(reply: dict[str, Any], guarding: Guarding, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """The reply with what the rails said; as one more choice too, where a client asks for that."""
    data = _guardrails_data(guarding, verdicts)
    if guarding.return_choice:
        message = {"role": "guardrails_data", "content": json.dumps(data, ensure_ascii=False)}
        extra = {"index": len(reply["choices"]), "message": message, "logprobs": None, "finish_reason": "stop"}
        reply["choices"].append(extra | ({"text": ""} if reply["object"] == "text_completion" else {}))
    return {**reply, "guardrails_data": data}
