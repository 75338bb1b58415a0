"""How services are spoken to, whichever client does it: patience, the environment's proxy, and every failure as a sentence.

Knows the exceptions of the clients that are in use. Knows no service and no route.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx
import nemo_microservices
import openai
from huggingface_hub.errors import HfHubHTTPError

from flywheel.errors import PlatformError

LOOPBACK = ("127.0.0.1", "localhost", "::1")
BUSY = (408, 425, 429)
"""Refusals (HTTP status) that mean: later."""


class Patience(NamedTuple):
    """How long services are waited for: seconds to connect and for each answer, and how often a failed request is sent again."""

    connect: float
    read: float
    retries: int


PATIENT = Patience(5.0, 60.0, 2)


class PlatformAway(PlatformError):
    """A service cannot be reached or is not ready; trying again later may help."""


def behind_proxy(*urls: str) -> bool:
    """Whether the environment's proxy applies: it cannot reach this machine's loopback."""
    return not all(urlsplit(url).hostname in LOOPBACK for url in urls)


@contextmanager
def spoken_to(service: str, url: str | None, action: str) -> Iterator[None]:
    """Translate everything that a client may raise into a sentence: what, which, what to do."""
    where = f"the {service} at {url}"
    try:
        yield
    except (nemo_microservices.APIStatusError, openai.APIStatusError, httpx.HTTPStatusError, HfHubHTTPError) as error:
        response = error.response
        if response is None or response.status_code >= 500 or response.status_code in BUSY:
            raise PlatformAway(f"{where} failed to {action}: {_detail(error)}; look at its log") from error
        raise PlatformError(f"{where} refused to {action}: {_detail(error)}") from error
    except (nemo_microservices.APIConnectionError, openai.APIConnectionError, httpx.TransportError) as error:
        raise PlatformAway(f"cannot reach {where} to {action} ({_cause(error)}): is the platform running?") from error
    except (nemo_microservices.NeMoMicroservicesError, openai.OpenAIError, httpx.HTTPError, ValueError, AttributeError) as error:
        # AttributeError: given a web page instead of JSON, the NeMo client hands on a str.
        raise PlatformError(f"{where} answered what cannot be read, asked to {action}: {error!s:.300}") from error


def _cause(error: BaseException) -> str:
    """The kind of failure, and what the system said of it: the clients keep that in the innermost cause."""
    kind = type(error).__name__
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{kind}: {error}" if str(error) else kind


def _detail(error: Any) -> str:
    """The service's own reason and the HTTP status."""
    response: httpx.Response | None = error.response
    if response is None:
        return str(error)[:500]
    try:
        detail = response.json()["detail"]
    except (ValueError, KeyError, TypeError, httpx.HTTPError):
        detail = str(error)
    return f"{detail if isinstance(detail, str) else json.dumps(detail)} (HTTP {response.status_code})"[:800]
