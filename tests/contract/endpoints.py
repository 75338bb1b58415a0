"""The endpoints that the contract is about, one line each, and the mark by which a test says which of them it meets.

A line is service, method and path: `nemo` answers at NEMO_URL, `nds` at NDS_URL, `nim` at NIM_URL; `{kind}` is `datasets` or
`models`. This is the 25.x line of NeMo microservices as its clients call it. Left out, because no part of this application needs
them: the whole of v2, platform jobs, Data Designer, Safe Synthesizer, Auditor, `/v1/classify`, and the Data Store's LFS and Xet
routes (every upload travels in its commit, so no client asks for them).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import pytest


def _collection(path: str, member: str, service: str = "nemo") -> str:
    """Create, list, read, change and delete."""
    whole = "\n".join(f"{service} {method} {path}" for method in ("POST", "GET"))
    return whole + "\n" + "\n".join(f"{service} {method} {path}/{member}" for method in ("GET", "PATCH", "DELETE"))


_NAMED = "{namespace}/{name}"

DATA_STORE = """
nds POST /v1/datastore/namespaces
nds GET /v1/datastore/namespaces
nds GET /v1/datastore/namespaces/{namespace}
nds DELETE /v1/datastore/namespaces/{namespace}
nds POST /v1/hf/api/repos/create
nds DELETE /v1/hf/api/repos/delete
nds POST /v1/hf/api/validate-yaml
nds GET /v1/hf/api/whoami-v2
nds GET /v1/hf/api/{kind}
nds GET /v1/hf/api/{kind}/{namespace}/{name}
nds GET /v1/hf/api/{kind}/{namespace}/{name}/revision/{revision}
nds GET /v1/hf/api/{kind}/{namespace}/{name}/tree/{revision}
nds GET /v1/hf/api/{kind}/{namespace}/{name}/tree/{revision}/{path*}
nds GET /v1/hf/api/{kind}/{namespace}/{name}/refs
nds GET /v1/hf/api/{kind}/{namespace}/{name}/commits/{revision}
nds POST /v1/hf/api/{kind}/{namespace}/{name}/paths-info/{revision}
nds POST /v1/hf/api/{kind}/{namespace}/{name}/preupload/{revision}
nds POST /v1/hf/api/{kind}/{namespace}/{name}/commit/{revision}
nds HEAD /v1/hf/datasets/{namespace}/{name}/resolve/{revision}/{path*}
nds GET /v1/hf/datasets/{namespace}/{name}/resolve/{revision}/{path*}
nds HEAD /v1/hf/{namespace}/{name}/resolve/{revision}/{path*}
nds GET /v1/hf/{namespace}/{name}/resolve/{revision}/{path*}
"""

ENTITY_STORE = "\n".join(
    [
        _collection("/v1/namespaces", "{namespace}"),
        _collection("/v1/projects", _NAMED),
        _collection("/v1/datasets", _NAMED),
        _collection("/v1/models", _NAMED),
    ]
)

CUSTOMIZER = f"""
nemo POST /v1/customization/jobs
nemo GET /v1/customization/jobs
nemo GET /v1/customization/jobs/{{job}}
nemo GET /v1/customization/jobs/{{job}}/status
nemo GET /v1/customization/jobs/{{job}}/container-logs
nemo POST /v1/customization/jobs/{{job}}/cancel
nemo POST /v1/customizations/{{job}}/cancel
{_collection("/v1/customization/configs", _NAMED)}
{_collection("/v1/customization/targets", _NAMED)}
"""

EVALUATOR = f"""
nemo POST /v1/evaluation/jobs
nemo GET /v1/evaluation/jobs
nemo GET /v1/evaluation/jobs/{{job}}
nemo DELETE /v1/evaluation/jobs/{{job}}
nemo POST /v1/evaluation/jobs/{{job}}/cancel
nemo GET /v1/evaluation/jobs/{{job}}/status
nemo GET /v1/evaluation/jobs/{{job}}/results
nemo GET /v1/evaluation/jobs/{{job}}/download-results
nemo GET /v1/evaluation/jobs/{{job}}/logs
nemo POST /v1/evaluation/live
{_collection("/v1/evaluation/configs", _NAMED)}
{_collection("/v1/evaluation/targets", _NAMED)}
{_collection("/v1/evaluation/results", "{result}")}
"""

GUARDRAILS = f"""
{_collection("/v1/guardrail/configs", _NAMED)}
nemo POST /v1/guardrail/checks
nemo POST /v1/guardrail/chat/completions
nemo POST /v1/guardrail/completions
nemo GET /v1/guardrail/models
"""

NIM = """
nim GET /v1/models
nim GET /v1/models/{model*}
nim POST /v1/chat/completions
nim POST /v1/completions
nim POST /v1/embeddings
nim GET /v1/health/ready
nim GET /v1/health/live
"""

DEPLOYMENT = "\n".join([_collection("/v1/deployment/model-deployments", _NAMED), _collection("/v1/deployment/configs", _NAMED)])

INTAKE = f"""
{_collection("/v1/intake/apps", _NAMED)}
{_collection("/v1/intake/apps/{namespace}/{app}/tasks", "{task}")}
{_collection("/v1/intake/entries", "{entry}")}
nemo POST /v1/intake/entries/{{entry}}/events
nemo DELETE /v1/intake/entries/{{entry}}/events/{{event}}
nemo POST /v1/intake/export/preview
nemo POST /v1/intake/export/jobs
nemo GET /v1/intake/export/jobs/{{job}}
"""

ENDPOINTS = frozenset(
    line
    for service in (DATA_STORE, ENTITY_STORE, CUSTOMIZER, EVALUATOR, GUARDRAILS, NIM, DEPLOYMENT, INTAKE)
    for line in service.split("\n")
    if line
)


def covers(*endpoints: str) -> pytest.MarkDecorator:
    """Say that a test meets these endpoints. It must call every one of them: the suite watches the wire."""
    return pytest.mark.covers(*endpoints)


def unmet(endpoints: Iterable[str], requests: Iterable[str]) -> list[str]:
    """The endpoints to which none of the requests went; a request is written as an endpoint is, with its real path."""
    seen = list(requests)
    return sorted(one for one in endpoints if not any(_shape(one).fullmatch(request) for request in seen))


def _shape(endpoint: str) -> re.Pattern[str]:
    parts: list[Any] = re.split(r"(\{[a-z]+\*?\})", endpoint)
    return re.compile("".join("(datasets|models)" if part == "{kind}" else ".+" if part.endswith("*}")
                              else "[^/]+" if part.startswith("{") else re.escape(part) for part in parts))  # fmt: skip
