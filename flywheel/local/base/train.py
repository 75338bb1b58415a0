"""Train the small base model: `python -m flywheel.local.base.train --minutes 60`.

The data is made while the model trains, from the phrase bank and the invented domains beside this file: nothing is downloaded. By
default the run continues from the shipped weights; --fresh begins with random ones. Settings are in recipe.py. A run that was
stopped or killed goes on from its last checkpoint when it is started again with the same --out; --minutes then counts the time
spent before, too. At the end --out holds a folder that AutoModelForCausalLM loads. The same command runs on a GPU with --device
cuda.

    python -m flywheel.local.base.train --minutes 60 --threads 2 --out trained                 # go on from the shipped weights
    python -m flywheel.local.base.train --minutes 180 --fresh --out trained                    # the whole way from nothing
    python -m flywheel.local.base.train --minutes 60 --stretch 9 --device cuda --out trained   # in stretches of nine minutes

Knows the order of things in a run; learning itself is learner.py's, the data data.py's.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from flywheel.local.base.recipe import Recipe
from flywheel.local.settings import prepare_environment

if TYPE_CHECKING:
    from flywheel.local.base.data import Batch
    from flywheel.local.base.learner import Learner
    from flywheel.local.base.shards import Counters

SHIPPED = Path(__file__).parent
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


class Plan(NamedTuple):
    """How long a run is and where: either `minutes` of training time or `steps`; `stretch` minutes of it now, 0 for all.

    `init` is the folder to continue from, None to begin afresh; `workers` is the number of processes that draw data ahead.
    """

    out: Path
    minutes: float = 60.0
    steps: int = 0
    stretch: float = 0.0
    init: Path | None = SHIPPED
    device: str = "cpu"
    workers: int = 1

    def progress(self, counters: Counters) -> float:
        """The part of the run that is done, 0 to 1 or more."""
        return counters.step / self.steps if self.steps else counters.seconds / 60 / self.minutes


def train(recipe: Recipe, plan: Plan) -> Iterator[tuple[Counters, float]]:
    """Run the plan: the counters and the loss of every step. The finished model is in `plan.out` after the last one."""
    from flywheel.local.base.data import Pools, batches
    from flywheel.local.base.learner import rate_at
    from flywheel.local.base.shards import read_checkpoint, write_checkpoint

    learner = _learner(recipe, plan)
    counters, state = read_checkpoint(plan.out) or (_begin(plan), None)
    if state is not None:
        learner.restore(state)
    pools = Pools(plan.init or SHIPPED, recipe.seed, recipe.batch_tokens, recipe.pool_samples)
    source = batches(pools, start=counters.pool, skip=counters.place, workers=plan.workers)
    begun, kept = counters.seconds, counters.seconds
    while plan.progress(counters) < 1:
        started = time.monotonic()
        pool, place, batch = next(source)
        loss = learner.learn(batch, rate_at(recipe, plan.progress(counters), counters.step))
        counters = _after(counters, pool, place, batch, time.monotonic() - started)
        yield counters, loss
        stop = plan.stretch and counters.seconds - begun >= plan.stretch * 60
        if stop or counters.seconds - kept >= recipe.checkpoint_minutes * 60:
            write_checkpoint(plan.out, counters, learner.state())
            kept = counters.seconds
        if stop:
            return
    _finish(learner, plan)


def _learner(recipe: Recipe, plan: Plan) -> Learner:
    import torch
    from transformers import AutoModelForCausalLM

    from flywheel.local.base.learner import Learner, fresh_model

    model: Any = (
        AutoModelForCausalLM.from_pretrained(plan.init, dtype=torch.float32, local_files_only=True, use_safetensors=True)
        if plan.init
        else fresh_model(recipe, SHIPPED)
    )
    rate = recipe.muon_lr_continued if plan.init else recipe.muon_lr
    return Learner(model, recipe, learning_rate=rate, device=torch.device(plan.device))


def _begin(plan: Plan) -> Counters:
    from flywheel.local.base.shards import Counters

    plan.out.mkdir(parents=True, exist_ok=True)
    return Counters()


def _after(counters: Counters, pool: int, place: int, batch: Batch, seconds: float) -> Counters:
    return counters._replace(
        step=counters.step + 1,
        tokens=counters.tokens + batch.tokens,
        seconds=counters.seconds + seconds,
        pool=pool,
        place=place + 1,
    )


def _finish(learner: Learner, plan: Plan) -> None:
    """Write the model, in bfloat16 as it ships, and drop the checkpoint that is no longer needed."""
    import torch

    from flywheel.local.base.shards import remove_checkpoint

    model = learner.model.to("cpu", torch.bfloat16)
    model.generation_config.pad_token_id = model.config.pad_token_id
    model.save_pretrained(plan.out)
    for name in _TOKENIZER_FILES:
        shutil.copyfile((plan.init or SHIPPED) / name, plan.out / name)
    remove_checkpoint(plan.out)


class _Printer:
    """Says how a run goes, every `every` steps: tokens, loss, speed and how long it will still take."""

    def __init__(self, plan: Plan, every: int) -> None:
        self._plan = plan
        self._every = every
        self._losses: list[float] = []
        self._since: Counters | None = None

    def tell(self, counters: Counters, loss: float) -> None:
        self._losses.append(loss)
        self._since = self._since or counters
        if counters.step % self._every:
            return
        done, spent = self._plan.progress(counters), counters.seconds - self._since.seconds
        speed = (counters.tokens - self._since.tokens) / spent if spent else 0
        left = counters.seconds * (1 - done) / done / 60
        print(
            f"step {counters.step}  {counters.tokens / 1e6:.2f} M tokens  loss {sum(self._losses) / len(self._losses):.4f}  "
            f"{speed:,.0f} tokens/s  {counters.seconds / 60:.1f} min done, {max(left, 0):.0f} min left",
            flush=True,
        )
        self._losses, self._since = [], counters


@click.command(help=__doc__.split("Knows")[0] if __doc__ else None)
@click.option("--minutes", default=60.0, show_default=True, help="How long to train, all stretches together.")
@click.option("--steps", default=0, help="Train for so many steps instead.")
@click.option("--stretch", default=0.0, help="Stop after so many minutes, with a checkpoint to go on from.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("trained"), show_default=True, help="Where the model goes.")
@click.option("--init", type=click.Path(exists=True, path_type=Path), default=SHIPPED, help="Continue from this model's folder.")
@click.option("--fresh", is_flag=True, help="Begin with random weights.")
@click.option("--threads", default=2, show_default=True, help="Threads of computation on the processor.")
@click.option("--workers", default=1, show_default=True, help="Processes that make data ahead; several for a GPU.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--seed", default=Recipe.seed, show_default=True, help="Of the training data; another one for another run.")
def main(
    minutes: float,
    steps: int,
    stretch: float,
    out: Path,
    init: Path,
    fresh: bool,
    threads: int,
    workers: int,
    device: str,
    seed: int,
) -> None:
    """The command."""
    prepare_environment()
    import torch

    torch.set_num_threads(threads)
    recipe = replace(Recipe(), seed=seed)
    plan = Plan(out, minutes, steps, stretch, None if fresh else init, device, workers)
    printer = _Printer(plan, recipe.print_steps)
    for counters, loss in train(recipe, plan):
        printer.tell(counters, loss)
    print(f"the model is in {out}" if (out / "model.safetensors").exists() else f"stopped; the same command goes on from {out}")


if __name__ == "__main__":
    main()
