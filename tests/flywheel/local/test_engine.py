"""The engine with the real base model, and with adapters so strong that a mix-up cannot go unnoticed."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from flywheel.local.adapters import AdapterError
from flywheel.local.chat_format import PromptTooLong
from flywheel.local.engine import Engine
from flywheel.local.generation import Cancelled, Completion, EngineBusy, EngineError, EngineNotReady, Request, UnknownModel

BASE_PATH = Path(__file__).parents[3] / "flywheel" / "local" / "base"
BASE = "local/tool-llama-5m"
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft asks transformers for it
ADAPTERS = [f"flywheel/run-{letter}@v1" for letter in "abc"]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
ENDLESS = {"type": "array", "items": {"type": "integer"}, "minItems": 100_000}  # keeps a model busy until its token limit


def user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def answer(engine: Engine, text: str, model: str = BASE, **options: Any) -> Completion:
    return engine.submit(Request(model=model, messages=user(text), **{"temperature": 0, **options})).result(60)


def strong_adapter(folder: Path, seed: int, **options: Any) -> Path:
    """A LoRA adapter, written by peft, that turns the base model's answers upside down."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    base = AutoModelForCausalLM.from_pretrained(BASE_PATH, dtype=torch.float32)
    config = LoraConfig(r=4 + seed, lora_alpha=16, task_type="CAUSAL_LM", **{"target_modules": "all-linear", **options})
    model = get_peft_model(base, config)
    for name, weights in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weights, std=0.4)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("adapters")
    options: list[dict[str, Any]] = [{}, {"target_modules": ["q_proj", "down_proj"]}, {"use_rslora": True}]
    return {name: strong_adapter(root / str(seed), seed, **options[seed]) for seed, name in enumerate(ADAPTERS)}


@pytest.fixture(scope="module")
def engine(folders: dict[str, Path]) -> Iterator[Engine]:
    engine = Engine(BASE, BASE_PATH, max_batch=6, threads=1)
    engine.wait_ready(60)
    for name, folder in folders.items():
        engine.load_adapter(name, folder)
    yield engine
    engine.close()


def test_calls_the_tool(engine: Engine) -> None:
    made = answer(engine, "What's the weather in Paris?", tools=[WEATHER])
    assert (made.content, made.finish_reason) == (None, "tool_calls")
    assert made.tool_calls == [("get_weather", {"city": "Paris"})]
    assert made.prompt_tokens > 20 and made.completion_tokens > 10
    assert -0.5 < made.mean_logprob < 0


def test_talks_and_never_calls_under_none(engine: Engine) -> None:
    made = answer(engine, "What's the weather in Paris?", tools=[WEATHER], tool_choice="none", max_tokens=30)
    assert made.content and not made.tool_calls
    assert made.finish_reason in ("stop", "length")


QUESTIONS = ["hello", "What's the weather in Paris?", "tell me a joke", "who are you and what can you do for me today?"]


@pytest.mark.parametrize("guided", [False, True], ids=["free", "guided"])
def test_every_row_is_answered_by_the_adapter_it_names(engine: Engine, guided: bool) -> None:
    models = [BASE, *ADAPTERS]
    options: dict[str, Any] = {"tools": [WEATHER], "tool_choice": "required"} if guided else {}
    requests = [
        Request(model=model, messages=user(text), temperature=0, max_tokens=24, **options)
        for text in QUESTIONS
        for model in models
    ]
    alone = [engine.submit(request).result(60) for request in requests]
    answers = {str([(made.content, made.tool_calls) for made in alone[place :: len(models)]]) for place in range(len(models))}
    assert len(answers) == len(models), "the models must not agree, or this shows nothing"

    generations = [engine.submit(request) for request in requests]  # 16 requests for 6 places: rows join and leave all the time
    mixed = [generation.result(60) for generation in generations]
    for one, other in zip(alone, mixed, strict=True):
        assert (one.model, one.content, one.tool_calls, one.completion_tokens) == (
            other.model,
            other.content,
            other.tool_calls,
            other.completion_tokens,
        )
        assert one.mean_logprob == pytest.approx(other.mean_logprob, abs=1e-3)


def test_adapters_weigh_what_peft_says(engine: Engine, folders: dict[str, Path]) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from flywheel.local.chat_format import ChatFormat

    tokenizer: Any = AutoTokenizer.from_pretrained(BASE_PATH)
    prompt = torch.tensor([ChatFormat(tokenizer, 2048).prompt(user("tell me a joke"))])
    for name, folder in folders.items():
        model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(BASE_PATH, dtype=torch.float32), folder).eval()
        with torch.inference_mode():
            logprobs = model(input_ids=prompt).logits[0, -1].log_softmax(-1)
        assert answer(engine, "tell me a joke", name, max_tokens=1).mean_logprob == pytest.approx(
            float(logprobs[8:].max()), abs=1e-3
        )


def test_same_beginnings_change_no_answer(engine: Engine, folders: dict[str, Path]) -> None:
    long = "please remember the following list of things " * 8
    for model in (BASE, ADAPTERS[0], BASE):  # what one has read before must not leak into another's answer
        for end in ("apples", "pears"):
            answer(engine, long + end, model, max_tokens=4)
    for model in (ADAPTERS[1], ADAPTERS[0], BASE):
        fresh = Engine(BASE, BASE_PATH, threads=1)
        fresh.wait_ready(60)
        if model != BASE:
            fresh.load_adapter(model, folders[model])
        assert (
            answer(engine, long + "pears", model, max_tokens=24).content
            == answer(fresh, long + "pears", model, max_tokens=24).content
        )
        fresh.close()


def test_adapters_come_and_go(engine: Engine, folders: dict[str, Path]) -> None:
    name = "flywheel/passing.by@v2"
    engine.load_adapter(name, folders[ADAPTERS[0]])
    assert engine.models() == [BASE, *ADAPTERS, name]
    first = answer(engine, "hello", name, max_tokens=12)
    assert first.content == answer(engine, "hello", ADAPTERS[0], max_tokens=12).content

    running = engine.submit(Request(model=name, messages=user("hello"), temperature=0, max_tokens=200, json_schema=ENDLESS))
    engine.unload_adapter(name)
    assert running.result(60).completion_tokens == 200
    with pytest.raises(UnknownModel, match=rf"{name}.* does not exist here; served are: {BASE}, {ADAPTERS[0]}"):
        answer(engine, "hello", name)
    with pytest.raises(UnknownModel):
        engine.unload_adapter(name)

    engine.load_adapter(name, folders[ADAPTERS[1]])
    assert answer(engine, "hello", name, max_tokens=12).content == answer(engine, "hello", ADAPTERS[1], max_tokens=12).content
    engine.unload_adapter(name)
    with pytest.raises(EngineError, match="base model's own id"):
        engine.load_adapter(BASE, folders[ADAPTERS[0]])


def broken(folder: Path, target: Path, kind: str) -> Path:
    """A copy of an adapter with one thing wrong."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(folder, target)
    weights, config = target / "adapter_model.safetensors", target / "adapter_config.json"
    settings, tensors = json.loads(config.read_text(encoding="utf-8")), load_file(weights)
    first = next(name for name in tensors if "lora_A" in name)
    match kind:
        case "pickle only":
            weights.rename(target / "adapter_model.bin")
            return target
        case "dora":
            settings["use_dora"] = True
        case "prefix tuning":
            settings["peft_type"] = "PREFIX_TUNING"
        case "not finite":
            tensors[first][0, 0] = float("nan")
        case "other base":
            tensors[first] = tensors[first][:, :-1].contiguous()
        case "unknown layer":
            tensors[first.replace("layers.0.", "layers.99.")] = tensors.pop(first)
        case "extra tensor":
            tensors["base_model.model.lm_head.weight"] = tensors[first].clone()
        case "cut":
            weights.write_bytes(weights.read_bytes()[:500])
            return target
    config.write_text(json.dumps(settings), encoding="utf-8")
    save_file(tensors, weights)
    return target


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("pickle only", "cannot read the adapter"),
        ("cut", "cannot read the adapter"),
        ("dora", "uses use_dora; only plain LoRA"),
        ("prefix tuning", "of type 'PREFIX_TUNING'"),
        ("not finite", "its training diverged"),
        ("other base", "is for another base model"),
        ("unknown layer", "no linear layer"),
        ("extra tensor", "no linear layer"),
    ],
)
def test_bad_adapters_are_refused(engine: Engine, folders: dict[str, Path], tmp_path: Path, kind: str, reason: str) -> None:
    before = engine.models()
    with pytest.raises(AdapterError, match=reason):
        engine.load_adapter("flywheel/bad@v1", broken(folders[ADAPTERS[0]], tmp_path / "bad", kind))
    assert engine.models() == before


def test_text_streams_and_adds_up(engine: Engine) -> None:
    async def collect() -> tuple[list[str], Completion]:
        generation = engine.submit(Request(model=BASE, messages=user("hello"), temperature=0))
        pieces = [piece async for piece in generation]
        return pieces, await generation.completion()

    pieces, made = asyncio.run(collect())
    assert len(pieces) > 3
    assert "".join(pieces) == made.content
    assert made.finish_reason == "stop"


def test_calls_do_not_stream_as_text(engine: Engine) -> None:
    async def collect() -> tuple[list[str], Completion]:
        generation = engine.submit(
            Request(model=BASE, messages=user("weather in Rome?"), tools=[WEATHER], tool_choice="required")
        )
        return [piece async for piece in generation], await generation.completion()

    pieces, made = asyncio.run(collect())
    assert pieces == [] and made.tool_calls


def test_stop_texts_cut_and_are_not_shown(engine: Engine) -> None:
    whole = answer(engine, "hello").content
    assert whole is not None
    stop = whole[4:9]

    async def collect() -> tuple[str, Completion]:
        generation = engine.submit(Request(model=BASE, messages=user("hello"), temperature=0, stop=["never there", stop]))
        return "".join([piece async for piece in generation]), await generation.completion()

    shown, made = asyncio.run(collect())
    assert shown == made.content == whole[: whole.index(stop)]
    assert made.finish_reason == "stop"


def test_token_limits(engine: Engine) -> None:
    made = answer(engine, "hello", max_tokens=2)
    assert (made.finish_reason, made.completion_tokens) == ("length", 2)
    cut = answer(engine, "What's the weather in Paris?", tools=[WEATHER], tool_choice="required", max_tokens=5)
    assert cut.finish_reason == "length" and not cut.tool_calls
    assert cut.content is not None and cut.content.startswith('{"name":"')
    with pytest.raises(PromptTooLong, match="but the limit is 2048"):
        answer(engine, "word " * 2100)


def test_the_context_is_the_last_limit(engine: Engine) -> None:
    made = answer(engine, "word " * 980, json_schema=ENDLESS)
    assert made.finish_reason == "length"
    assert made.prompt_tokens + made.completion_tokens == engine.max_length == 2048


def test_seeds_repeat_and_temperature_varies(engine: Engine) -> None:
    def drawn(seed: int) -> str | None:
        return answer(engine, "What is the weather in Paris?", temperature=1.5, seed=seed, max_tokens=20).content

    with ThreadPoolExecutor(4) as pool:
        first, second = list(pool.map(drawn, range(4))), list(pool.map(drawn, range(4)))
    assert first == second
    assert len(set(first)) > 1
    assert answer(engine, "hello", temperature=1.0, top_p=1e-9).content == answer(engine, "hello").content


def test_sampled_calls_fit_their_schema(engine: Engine) -> None:
    requests = [
        Request(
            model=ADAPTERS[0],
            messages=user("weather"),
            tools=[WEATHER],
            tool_choice="required",
            temperature=1.0,
            seed=s,
            max_tokens=120,
        )
        for s in range(24)
    ]
    made = [generation.result(60) for generation in [engine.submit(request) for request in requests]]
    calls = [call for completion in made for call in completion.tool_calls]
    for call in calls:
        assert call.name == "get_weather"
        jsonschema.validate(call.arguments, WEATHER["function"]["parameters"])  # type: ignore[index]
    assert all(completion.tool_calls or completion.finish_reason == "length" for completion in made)


def test_cancelled_requests_make_room(engine: Engine) -> None:
    running = [engine.submit(Request(model=BASE, messages=user("hello"), json_schema=ENDLESS)) for _ in range(8)]  # 6 run, 2 wait
    time.sleep(0.3)
    for generation in running:
        generation.cancel()
    started = time.monotonic()
    assert answer(engine, "hello").content
    assert time.monotonic() - started < 5
    for generation in running:
        with pytest.raises(Cancelled):
            generation.result(5)


def test_too_many_wait() -> None:
    engine = Engine(BASE, BASE_PATH, max_batch=1, threads=1)
    engine.wait_ready(60)
    with pytest.raises(EngineBusy, match="requests are waiting already"):
        for _ in range(50):
            engine.submit(Request(model=BASE, messages=user("hello"), json_schema=ENDLESS))
    engine.close()


def test_closing_fails_what_still_runs() -> None:
    engine = Engine(BASE, BASE_PATH, max_batch=1, threads=1)
    with pytest.raises(EngineNotReady, match="still loading"):
        engine.submit(Request(model=BASE, messages=user("hello")))
    engine.wait_ready(60)
    running = [engine.submit(Request(model=BASE, messages=user("hello"), json_schema=ENDLESS)) for _ in range(3)]
    engine.close()
    for generation in running:
        with pytest.raises(EngineNotReady, match="shutting down"):
            generation.result(5)
    with pytest.raises(EngineNotReady, match="shutting down"):
        engine.submit(Request(model=BASE, messages=user("hello")))


@pytest.mark.parametrize("missing", ["model.safetensors", "chat_template.jinja"])
def test_a_folder_that_cannot_be_served_says_why(tmp_path: Path, missing: str) -> None:
    shutil.copytree(BASE_PATH, tmp_path / "base", ignore=shutil.ignore_patterns(missing))
    engine = Engine("some/model", tmp_path / "base", threads=1)
    with pytest.raises(EngineNotReady, match=r"'some/model' could not be loaded from .*base': "):
        engine.wait_ready(60)
    assert not engine.ready
    engine.close()
