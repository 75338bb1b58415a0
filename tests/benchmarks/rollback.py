"""How long a roll back takes until the previous model answers: `python -m tests.benchmarks.rollback HOME`.

HOME: a state folder in which a run has made a model; what serves in it is the same afterwards. Both models are asked once before,
as the chat would have. Measures from the call to the whole answer, over the NIM, without the rails and the browser.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from pathlib import Path
from statistics import median

from chat_app.model import ChatModel, Reply
from flywheel.cli_shell import Output, running_services
from flywheel.promote import Registry
from flywheel.settings import Settings
from flywheel.starter import shipped_tools
from flywheel.store import Store
from tests.benchmarks.machine import facts, note, table

GOAL_SECONDS = 5.0
TIMES = 5


async def answered(model: ChatModel, registry: Registry) -> str:
    """Ask whoever serves one question; returns the model's id once its whole answer is there."""
    served = registry.serving("conv-benchmark")
    question = [{"role": "user", "content": "What time is it in Tokyo?"}]
    replies = [piece async for piece in model.stream(question, shipped_tools(), model=served) if isinstance(piece, Reply)]
    assert replies and replies[-1].finish_reason
    return served


async def measured(registry: Registry, candidate: str, nim_url: str) -> list[float]:
    """Seconds of each roll back with the answer after it."""
    model, seconds = ChatModel(nim_url, "", registry), []
    before = await answered(model, registry)
    for _ in range(TIMES):
        registry.promote(candidate, person="benchmark", reason="to be rolled back")
        assert await answered(model, registry) == candidate
        began = time.perf_counter()
        registry.roll_back(person="benchmark", reason="measured")
        assert await answered(model, registry) == before
        seconds.append(time.perf_counter() - began)
    await model.aclose()
    return seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("home", type=Path)
    home, machine = parser.parse_args().home, facts()
    settings = Settings(home=home).prepare()
    store = Store(settings.store_path)
    registry = Registry(store.database)
    served = registry.begin(settings.base_model).model
    candidates = [model.id for model in registry.models() if model.run_id and model.id != served]
    if not candidates:
        raise SystemExit(f"no run in {str(settings.home)!r} made a model that does not serve: run the wheel there first")
    with running_services(settings, Output()) as settings:
        note(f"{candidates[0]} is promoted and rolled back {TIMES} times")
        seconds = asyncio.run(measured(registry, candidates[0], f"{settings.nim_url}"))
    store.close()
    print(machine)
    rows = [("middle", f"{median(seconds):.2f}"), ("slowest", f"{max(seconds):.2f}"), ("goal", f"{GOAL_SECONDS:.2f}")]
    print(table(["from the roll back to the previous model's whole answer", "seconds"], rows))


if __name__ == "__main__":
    main()
