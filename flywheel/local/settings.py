"""The local platform's environment: the only module here that reads or writes it.

Knows the variables that other libraries look at. The platform's own options are on its command line.
"""

from __future__ import annotations

import os

_DEFAULTS = {
    # Threads that wait by spinning take the other core from whoever has work: serving and training share this machine.
    "OMP_WAIT_POLICY": "PASSIVE",
    "KMP_BLOCKTIME": "0",
    # The library that multiplies keeps a kernel for every shape it meets, a thousand by default: hundreds of MB in training.
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64",
    # Tokenizers warn, and may lock up, when a process that used their threads starts a child.
    "TOKENIZERS_PARALLELISM": "false",
}
_ALWAYS = {
    # Every model is a folder on this machine; nothing may be looked up or reported elsewhere.
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "NEMO_GUARDRAILS_NO_USAGE_STATS": "1",
}


def prepare_environment() -> None:
    """Set what this process and its children need. To be called before torch and transformers are imported: they read it once."""
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    os.environ.update(_ALWAYS)
