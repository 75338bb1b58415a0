"""The inference engine: one base model and its LoRA adapters, answering many requests at once on this machine's processor.

One thread owns the model; requests join its running batch between two steps and leave it when they are done. Each adapter is a
model id of its own, and no request is answered by another than the one it names. Knows nothing of HTTP or jobs.

Threads: two busy processes with a thread for each core slow each other down far more than twice, since the threads wait for each
other by spinning. So one core is left free by default; whoever starts the process should set OMP_WAIT_POLICY=PASSIVE too.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Literal, NamedTuple

from flywheel.local.adapters import Adapter, AdapterBank, read_adapter
from flywheel.local.batch import Batch
from flywheel.local.call_form import CallForm, call_form
from flywheel.local.chat_format import ChatFormat, PromptError, PromptTooLong
from flywheel.local.decoding import Decoder, Limits, end_tokens, sampling_for
from flywheel.local.generation import Cancelled, EngineBusy, EngineError, EngineNotReady, Generation, Request, UnknownModel
from flywheel.local.grammar import Grammars
from flywheel.local.token_record import TokenRecord

log = logging.getLogger(__name__)

Truncation = Literal["NONE", "START", "END"]

_WAITING_FOR_EACH_PLACE = 16  # requests that may wait, for each place in the batch
_CLOCK = {
    "name": "clock",
    "description": "Tell the time in a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


class Embedding(NamedTuple):
    """A text's vector, of length one, and how many tokens the text has."""

    vector: list[float]
    tokens: int


class _Job(NamedTuple):
    """A request on its way into the batch."""

    tokens: list[int]
    adapter: Adapter | None
    decoder: Decoder


class _Loaded(NamedTuple):
    """What the engine's thread has loaded. Other threads leave the bank and the batch alone."""

    model: Any
    tokenizer: Any
    format: ChatFormat
    grammars: Grammars
    form: CallForm
    ends: frozenset[int]
    bank: AdapterBank
    batch: Batch[_Job]

    def prompt(self, request: Request) -> list[int]:
        """The tokens to go on from: the conversation as the chat template writes it, or the prompt as it was sent."""
        if request.prompt is None:
            return self.format.prompt(request.messages, request.tools)
        return self.token_ids(request.prompt, special=True)

    def token_ids(self, text: str | Sequence[int], *, special: bool) -> list[int]:
        """A text's tokens, with those that the tokenizer begins texts with if `special`; token ids are only checked."""
        if isinstance(text, str):
            ids: list[int] = self.tokenizer(text, add_special_tokens=special)["input_ids"]
        else:
            ids = list(text)
        size = self.model.config.vocab_size
        if not ids or not all(0 <= token < size for token in ids):
            raise PromptError(f"the prompt is empty or names a token outside 0 to {size - 1}; send a text")
        return ids


class Engine:
    """Serves `base_id` from the Hugging Face folder `base_path`, and adapters as they are loaded.

    Loading goes on in the background: see `ready` and `wait_ready`. `max_batch` requests run at once, others wait. `threads` is
    torch's number of threads, by default one less than there are physical cores.
    """

    def __init__(self, base_id: str, base_path: Path, *, max_batch: int = 16, threads: int | None = None) -> None:
        self.base_id = base_id
        self.created = int(time.time())
        self._base_path = base_path
        self._max_batch = max_batch
        self._threads = threads
        self._loaded: _Loaded | None = None
        self._failure: BaseException | None = None
        self._settled = threading.Event()  # loaded and warm, or failed
        self._adapters: dict[str, Adapter] = {}  # replaced, never changed, so that any thread may read it
        self._inbox: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._waiting: deque[_Job] = deque()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    # what other threads ask

    @property
    def ready(self) -> bool:
        """Whether requests are answered now."""
        return self._settled.is_set() and self._failure is None and not self._closing

    def wait_ready(self, timeout: float | None = None) -> None:
        """Block until requests are answered. Raises `EngineNotReady` after `timeout` seconds, or at once if loading failed."""
        if not self._settled.wait(timeout):
            raise EngineNotReady(f"the model {self.base_id!r} is still loading: try again in a few seconds")
        if self._failure is not None:
            raise EngineNotReady(f"the model {self.base_id!r} could not be loaded from {str(self._base_path)!r}: {self._failure}")
        if self._closing:
            raise EngineNotReady("the engine is shutting down")

    def models(self) -> list[str]:
        """The model ids that are served, the base model's first."""
        return [self.base_id, *self._adapters]

    @property
    def max_length(self) -> int:
        """The context: how many tokens a prompt and its answer may take together."""
        return self._parts().format.max_length

    def load_adapter(self, model_id: str, folder: Path) -> None:
        """Serve the peft adapter in `folder` as `model_id` from now on, in place of any of that id. Raises `AdapterError`."""
        if model_id == self.base_id:
            raise EngineError(f"{model_id!r} is the base model's own id: give the adapter another")
        self.wait_ready()
        parts = self._parts()
        adapter = read_adapter(model_id, folder, parts.model)
        self._between_steps(lambda: self._serve(parts, model_id, adapter))

    def unload_adapter(self, model_id: str) -> None:
        """Serve it no more; answers that it has begun are finished by it. Raises `UnknownModel`."""
        self._find(model_id)
        parts = self._parts()
        self._between_steps(lambda: self._serve(parts, model_id, None))

    def submit(self, request: Request) -> Generation:
        """Begin an answer. May be called from any thread; takes some milliseconds to render the prompt.

        Raises `UnknownModel`, `PromptError` (`PromptTooLong`), `EngineBusy`, `EngineNotReady`.
        """
        parts = self._parts()
        adapter = self._find(request.model)
        if len(self._waiting) + self._inbox.qsize() >= self._max_batch * _WAITING_FOR_EACH_PLACE:
            raise EngineBusy(f"{len(self._waiting)} requests are waiting already: try again later")
        job = self._job(parts, request, adapter)
        self._inbox.put(lambda: self._waiting.append(job))
        if self._closing:  # the thread may have looked into its inbox for the last time
            job.decoder.generation.finish(EngineNotReady("the engine is shutting down"))
        return job.decoder.generation

    def embed(self, model_id: str, text: str | Sequence[int], truncate: Truncation = "NONE") -> Embedding:
        """A text, or its token ids, as a vector. Blocks until the model has read it; answers that are being written go on.

        A causal model's mean state: near for texts that share words, no match for a model that was trained to embed. `truncate`
        says from which end a text longer than the context is cut. Raises as `submit` does.
        """
        parts = self._parts()
        adapter = self._find(model_id)
        tokens = _fitting(parts.token_ids(text, special=False), parts.format.max_length, truncate)
        vectors: list[list[float]] = []
        self._between_steps(lambda: vectors.append(parts.batch.embed(tokens, adapter).tolist()))
        return Embedding(vectors[0], len(tokens))

    def close(self) -> None:
        """Stop the thread; requests that still run fail with `EngineNotReady`."""
        self._closing = True
        self._inbox.put(lambda: None)
        self._thread.join(timeout=30)

    def _parts(self) -> _Loaded:
        self.wait_ready(0)
        assert self._loaded is not None
        return self._loaded

    def _find(self, model_id: str) -> Adapter | None:
        if model_id == self.base_id:
            return None
        if (adapter := self._adapters.get(model_id)) is None:
            raise UnknownModel(model_id, self.models())
        return adapter

    def _job(self, parts: _Loaded, request: Request, adapter: Adapter | None) -> _Job:
        tokens = parts.prompt(request)
        room = parts.format.max_length - len(tokens)
        if room < 1:
            raise PromptTooLong(len(tokens), parts.format.max_length - 1)
        if request.json_schema is not None:
            matcher = parts.grammars.for_json(request.json_schema)
        else:
            matcher = parts.grammars.for_tools(request.tools, request.tool_choice, several=request.several_calls)
        decoder = Decoder(
            Generation(len(tokens)),
            parts.tokenizer,
            matcher,
            model=request.model,
            calls=parts.form.opening if request.tools and request.tool_choice != "none" and request.json_schema is None else None,
            sampling=sampling_for(request.temperature, request.top_p, request.seed, parts.model.generation_config),
            limits=Limits(min(room, request.max_tokens or room), parts.ends, tuple(text for text in request.stop if text)),
            record=None if request.logprobs is None else TokenRecord(request.logprobs, parts.grammars.written),
        )
        return _Job(tokens, adapter, decoder)

    def _between_steps(self, act: Callable[[], object]) -> None:
        """Have the engine's thread do something while no forward pass runs, and wait for it."""
        done: Future[None] = Future()

        def run() -> None:
            try:
                act()
            except Exception as error:
                done.set_exception(error)
            else:
                done.set_result(None)

        self._inbox.put(run)
        done.result(timeout=60)

    # what the engine's own thread does

    def _run(self) -> None:
        try:
            import torch

            torch.set_num_threads(self._threads or _spare_cores())
            with torch.inference_mode():
                self._loaded = parts = _load(self._base_path)
                self._warm_up(parts)
                self._settled.set()
                while not self._closing:
                    self._take_in(parts.batch)
                    self._advance(parts.batch)
        except BaseException as error:
            log.exception("the engine for %r stopped", self.base_id)
            self._failure = error
            self._closing = True
        finally:
            self._settled.set()
            self._abandon()

    def _warm_up(self, parts: _Loaded) -> None:
        """The first answer of a process is slow; let nobody wait for it. A folder that cannot chat with tools fails here."""
        question = {"role": "user", "content": "What time is it in Rome?"}
        clock = {"type": "function", "function": _CLOCK}
        request = Request(
            model=self.base_id, messages=[question], tools=[clock], tool_choice="required", max_tokens=8, temperature=0
        )
        job = self._job(parts, request, None)
        self._waiting.append(job)
        while self._waiting or len(parts.batch):
            self._advance(parts.batch)
        job.decoder.generation.result(0)

    def _take_in(self, batch: Batch[_Job]) -> None:
        idle = not self._waiting and not len(batch)
        try:
            self._inbox.get(block=idle)()
            while True:
                self._inbox.get_nowait()()
        except queue.Empty:
            pass

    def _advance(self, batch: Batch[_Job]) -> None:
        try:
            self._drop_cancelled(batch)
            if len(batch):
                logits = batch.step([job.decoder.tokens[-1] for job in batch.items])
                for job, row in zip(batch.items, logits, strict=True):
                    job.decoder.take(row)
                batch.leave(lambda job: job.decoder.finished)
            while self._waiting and len(batch) < self._max_batch:
                self._begin(batch, self._waiting.popleft())
        except Exception as error:
            log.exception("a step of the engine failed; its %d requests fail with it", len(batch))
            for job in batch.items:
                job.decoder.generation.finish(EngineError(f"the model failed while it was writing the answer: {error}"))
            batch.leave(lambda job: True)

    def _drop_cancelled(self, batch: Batch[_Job]) -> None:
        for job in [*batch.items, *self._waiting]:
            if job.decoder.generation.cancelled:
                job.decoder.generation.finish(Cancelled("the request was cancelled"))
        batch.leave(lambda job: job.decoder.generation.cancelled)
        self._waiting = deque(job for job in self._waiting if not job.decoder.generation.cancelled)

    def _begin(self, batch: Batch[_Job], job: _Job) -> None:
        try:
            logits, layers = batch.read(job.tokens, job.adapter)
            job.decoder.take(logits)
        except Exception as error:
            log.exception("the engine could not begin an answer")
            job.decoder.generation.finish(EngineError(f"the model failed on the prompt of {len(job.tokens)} tokens: {error}"))
            return
        if not job.decoder.finished:
            batch.join(job, job.adapter, layers)

    def _serve(self, parts: _Loaded, model_id: str, adapter: Adapter | None) -> None:
        others = {name: served for name, served in self._adapters.items() if name != model_id}
        if (former := self._adapters.get(model_id)) is not None:
            parts.batch.forget(former)
        if adapter is not None:
            parts.bank.prepare(adapter)
            others[model_id] = adapter
        self._adapters = others

    def _abandon(self) -> None:
        """Tell everyone who still waits that no answer will come."""
        while not self._inbox.empty():
            self._inbox.get()()
        for job in [*self._waiting, *(self._loaded.batch.items if self._loaded else ())]:
            job.decoder.generation.finish(EngineNotReady("the engine is shutting down"))


def _fitting(tokens: list[int], limit: int, truncate: Truncation) -> list[int]:
    if len(tokens) <= limit:
        return tokens
    if truncate == "NONE":
        raise PromptTooLong(len(tokens), limit)
    return tokens[:limit] if truncate == "END" else tokens[-limit:]


def _load(path: Path) -> _Loaded:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # type: ignore[no-untyped-call]
    tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
    model: Any = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, local_files_only=True, use_safetensors=True)
    model.eval()
    ends = end_tokens(tokenizer, model.generation_config)
    context = min(model.config.max_position_embeddings, tokenizer.model_max_length)
    chat = ChatFormat(tokenizer, context)
    form = call_form(chat)
    grammars = Grammars(tokenizer, model.config.vocab_size, ends, form)
    bank = AdapterBank(model)
    return _Loaded(model, tokenizer, chat, grammars, form, frozenset(ends), bank, Batch(model, bank))


def _spare_cores() -> int:
    import psutil

    return max(1, (psutil.cpu_count(logical=False) or 1) - 1)
