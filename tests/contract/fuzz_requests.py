"""Requests that no client would send: every operation of the platform's own OpenAPI, with hostile parameters and spoiled bodies.

Knows one good body for each kind of request, and how to spoil it. Does not send anything.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

from hypothesis import strategies as st
from test_contract_guardrails import CONTENT_SAFETY

from tests.platform_rows import TEMPLATE, TOOL_CALLING, TOOLS, evaluation_rows

NAMES = ["fuzz", "default", "rows", "main", "tool-llama-5m@2.0", "tool-llama-5m@v1.0.0+cpu", "local", "datasets", "a.txt"]
HOSTILE = [
    "..",
    ".",
    "../../etc/passwd",
    "%2e%2e",
    "a/b",
    "\x00",
    "a" * 300,
    "ü",
    "💥",
    "' OR 1=1 --",
    "{{ 7*7 }}",
    "-1",
    "nan",
    " ",
    "@",
    "+",
]
WORDS = st.sampled_from(NAMES) | st.sampled_from(HOSTILE) | st.text(max_size=12)
NUMBERS = st.integers(-(2**70), 2**70) | st.sampled_from([0, 1, -1, 2**31, 2**63, 1e308, 0.5])
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=5,
)
QUERIES = st.dictionaries(
    st.sampled_from(["page", "page_size", "sort", "recursive", "limit", "author", "create_pr"])
    | st.sampled_from(
        ["filter[name]", "filter[peft][x]", "filter[created_at][gte]", "search[name]", "filter[", "filter[a][b][c][d][e]"]
    )
    | WORDS,
    WORDS,
    max_size=3,
)

BASE = "local/tool-llama-5m"
MESSAGES = [{"role": "user", "content": "hello"}]
NAMED = {"name": "x", "namespace": "fuzz", "description": "d", "project": "p", "custom_fields": {"a": 1}}
OPTION = {"training_type": "sft", "finetuning_type": "lora", "num_gpus": 1, "micro_batch_size": 1}
COMPLETION = {"model": BASE, "max_tokens": 2, "temperature": 0.5, "top_p": 0.9, "stop": ["x"], "seed": 1, "stream": False}
EVALUATION = {
    "namespace": "fuzz",
    "config": {
        "type": "custom",
        "tasks": {
            "t": {"type": "chat-completion", "params": {"template": TEMPLATE}, "metrics": {"m": TOOL_CALLING}},
            "d": {"type": "data", "metrics": {"b": {"type": "bleu", "params": {"references": ["{{ item.x }}"]}}}},
        },
        "params": {"max_tokens": 2, "max_retries": 0, "request_timeout": 5},
    },
    "target": {"type": "model", "model": BASE, "rows": evaluation_rows(1)},
}
JUDGE = {
    "model": BASE,
    "template": {"messages": MESSAGES, "max_tokens": 2},
    "scores": {"s": {"type": "int", "parser": {"type": "regex", "pattern": r"(\d+)"}}},
}
ENTRY = {
    "context": {"app": "fuzz/chat", "task": "t", "thread_id": "1"},
    "data": {"request": {"model": "m", "messages": MESSAGES}, "response": {"choices": [{"message": MESSAGES[0]}]}},
    "user_rating": {"thumb": "up"},
    "events": [{"event_type": "user_action", "action": "a"}],
}
COMMIT = [
    {"key": "header", "value": {"summary": "s"}},
    {"key": "file", "value": {"path": "a.txt", "content": "eA==", "encoding": "base64"}},
    {"key": "deletedFile", "value": {"path": "b.txt"}},
]

BODIES: list[tuple[str, Any]] = [
    ("/v1/hf/api/repos/", {"name": "rows", "organization": "fuzz", "type": "dataset", "private": False}),
    ("/preupload/", {"files": [{"path": "a.txt", "sample": "eA==", "size": 1}]}),
    ("/paths-info/", {"paths": ["a.txt"], "expand": False}),
    ("/v1/datastore/namespaces", {"namespace": "fuzz"}),
    ("/v1/namespaces", {"id": "fuzz", "description": "d"}),
    ("/v1/datasets", {**NAMED, "files_url": "hf://datasets/fuzz/rows", "limit": 1}),
    ("/v1/customization/jobs", {
        "config": f"{BASE}@v1.0.0+cpu", "dataset": {"name": "absent", "namespace": "fuzz"}, "output_model": "fuzz/m@v1",
        "hyperparameters": {"training_type": "sft", "finetuning_type": "lora", "epochs": 1, "lora": {"adapter_dim": 8}},
    }),
    ("/v1/customization/configs", {**NAMED, "target": f"{BASE}@2.0", "max_seq_length": 64, "training_options": [OPTION],
                                   "add_training_options": [OPTION]}),
    ("/v1/customization/targets", {**NAMED, "model_path": "x", "num_parameters": 1, "precision": "bf16"}),
    ("/v1/evaluation/live", EVALUATION),
    ("/v1/evaluation/jobs", EVALUATION),
    ("/v1/evaluation/configs", {**NAMED, "type": "custom", "tasks": {"t": {"type": "data", "metrics": {
        "j": {"type": "llm-judge", "params": JUDGE}}}}}),
    ("/v1/evaluation/targets", {**NAMED, "type": "rows", "rows": [{"x": 1}]}),
    ("/v1/evaluation/results", {"job": "eval-x", "namespace": "fuzz", "tasks": {}}),
    ("/v1/guardrail/configs", {**NAMED, "data": CONTENT_SAFETY}),
    ("/v1/guardrail/", {**COMPLETION, "messages": MESSAGES, "prompt": "x", "guardrails": {"config_id": "fuzz/x"}}),
    ("/v1/deployment/configs", {**NAMED, "model": BASE, "nim_deployment": {"image_name": "i", "image_tag": "t", "gpu": 1}}),
    ("/v1/deployment/model-deployments", {**NAMED, "config": {"model": BASE, "external_endpoint": {"host_url": "http://x"}}}),
    ("/v1/intake/entries/{entry_id}/events", {"events": [{"event_type": "reviewer_annotation", "response_override": {}}]}),
    ("/v1/intake/entries", ENTRY),
    ("/v1/intake/export", {"config": {"filters": {"namespace": "fuzz"}, "limit": 5}}),
    ("/nim/v1/chat/completions", {**COMPLETION, "messages": MESSAGES, "tools": TOOLS, "tool_choice": "auto", "logprobs": True}),
    ("/nim/v1/completions", {**COMPLETION, "prompt": "x", "logprobs": 1}),
    ("/nim/v1/embeddings", {"model": BASE, "input": ["x"], "input_type": "query", "encoding_format": "float"}),
]  # fmt: skip


# Some of these can be read and not be written, or be written and not be shown.
DEEP = [b"[" * 5000] + [
    b'{"name":"deep","namespace":"fuzz","files_url":"hf://x","custom_fields":{"a":' + b"[" * deep + b"]" * deep + b"}}"
    for deep in (90, 150, 400, 900)
]


class Request(NamedTuple):
    """One request to be sent."""

    method: str
    url: str
    content: bytes
    headers: dict[str, str]


@st.composite
def requests(draw: st.DrawFn, openapi: Mapping[str, Any], there: Mapping[str, str]) -> Request:
    """A request to one operation of a document of OpenAPI; `there` are values of its parameters that exist, by their names."""
    path = draw(st.sampled_from(sorted(openapi["paths"])))
    method = draw(st.sampled_from(sorted(openapi["paths"][path])))
    parts = [draw(_parameter(there.get(part[1:-1]))) if part.startswith("{") else part for part in path.split("/")]
    url = "/".join(parts)
    query = "&".join(f"{quote(key, safe='[]')}={quote(value)}" for key, value in draw(QUERIES).items())
    content, kind = draw(_content(path)) if method in ("post", "patch", "delete") else (b"", None)
    headers = {"Content-Type": kind} if kind else {}
    return Request(method.upper(), url + (f"?{query}" if query else ""), content, headers)


def _parameter(there: str | None) -> st.SearchStrategy[str]:
    # `/` and `.` may come as they are: a client is free to send such a path.
    known = [st.just(there)] * 3 if there else []
    return st.one_of(*known, WORDS).flatmap(lambda word: st.sampled_from([quote(word, safe=""), quote(word, safe="/.%@+")]))


@st.composite
def _content(draw: st.DrawFn, path: str) -> tuple[bytes, str]:
    if draw(st.integers(0, 19)) == 0:
        return draw(st.binary(max_size=40) | st.sampled_from(DEEP)), "application/json"
    if "/commit/" in path:
        lines = [_text(draw(_spoiled(line))) for line in COMMIT]
        return b"\n".join(lines), "application/x-ndjson"
    body = draw(_spoiled(next((body for part, body in BODIES if part in path), NAMED)))
    if "/paths-info/" in path or "/v1/datastore/" in path:
        fields = body.items() if isinstance(body, dict) else [("x", body)]
        form = "&".join(f"{quote(str(key))}={quote(str(value))}" for key, value in fields)
        return form.encode(), "application/x-www-form-urlencoded"
    return _text(body), "application/json"


@st.composite
def _spoiled(draw: st.DrawFn, value: Any) -> Any:
    """The value as it is, or with something in it replaced, left out or added."""
    for _ in range(draw(st.integers(0, 2))):
        value = draw(_spoiled_once(value))
    return value


@st.composite
def _spoiled_once(draw: st.DrawFn, value: Any) -> Any:
    if isinstance(value, dict) and value and draw(st.integers(0, 4)):
        key = draw(st.sampled_from(sorted(value)))
        act = draw(st.sampled_from(["change", "change", "change", "leave out", "add"]))
        if act == "leave out":
            return {name: item for name, item in value.items() if name != key}
        if act == "add":
            return {**value, draw(WORDS): draw(VALUES)}
        return {**value, key: draw(_spoiled_once(value[key]))}
    if isinstance(value, list) and value and draw(st.integers(0, 4)):
        place = draw(st.integers(0, len(value) - 1))
        return [*value[:place], draw(_spoiled_once(value[place])), *value[place + 1 :]]
    return draw(VALUES)


def _text(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")
