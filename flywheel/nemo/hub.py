"""The client for the Data Store's files, kept from speaking to anybody else."""

from __future__ import annotations

import httpx
from huggingface_hub import HfApi, constants, set_client_factory


def hub_client(endpoint: str, timeout: httpx.Timeout, proxied: bool) -> HfApi:
    """A hub client that speaks to the Data Store and to nobody else."""
    # Without this the client asks the public hub for a registry of agents as soon as it makes a header. It also forbids the hub's
    # own connections every address, the Data Store's too; those that we make are not asked.
    constants.HF_HUB_OFFLINE = True
    set_client_factory(lambda: httpx.Client(timeout=timeout, follow_redirects=True, trust_env=proxied))
    constants.HF_HUB_DISABLE_XET = True  # the Data Store speaks LFS
    constants.HF_HUB_DISABLE_TELEMETRY = True
    return HfApi(endpoint=endpoint, token=False)  # never this person's own hub token
