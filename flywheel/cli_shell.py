"""What all commands share: where results and notes go, errors as exit codes, the opened state, running services.

Knows nothing of what any command does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from flywheel.errors import FlywheelError
from flywheel.promote import Registry
from flywheel.settings import Settings
from flywheel.store import Store


class Output:
    """Where results and notes go."""

    def __init__(self) -> None:
        self.json = False

    def result(self, value: dict[str, Any], text: str) -> None:
        """Print the result: the object with --json, else the text."""
        click.echo(json.dumps(value, ensure_ascii=False) if self.json else text)

    def note(self, text: str) -> None:
        """Say something that is no result."""
        click.echo(text, err=True)


class Commands(click.Group):
    """The one place where our errors become messages and exit codes."""

    def invoke(self, context: click.Context) -> Any:
        """Run the command; a FlywheelError is a sentence for a person and exit code 1."""
        output = context.ensure_object(Output)
        try:
            return super().invoke(context)
        except FlywheelError as error:
            if not output.json:
                raise click.ClickException(str(error)) from error
            click.echo(json.dumps({"error": str(error), "kind": type(error).__name__}, ensure_ascii=False))
            context.exit(1)


def _set_json(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    context.ensure_object(Output).json = value


json_option = click.option(
    "--json", is_flag=True, expose_value=False, is_eager=True, callback=_set_json, help="Print one JSON object and nothing else."
)


@contextmanager
def opened_state() -> Iterator[tuple[Settings, Store]]:
    """The settings and the open store."""
    settings = Settings.from_environment().prepare()
    store = Store(settings.store_path)
    try:
        Registry(store.database).begin(settings.base_model)
        yield settings, store
    finally:
        store.close()


@contextmanager
def running_services(settings: Settings, output: Output) -> Iterator[Settings]:
    """Settings that name running services; a local platform that is started for this is stopped after it."""
    from flywheel.platform import ensure_platform

    settings, supervisor = ensure_platform(settings, log=output.note)
    try:
        if supervisor is not None:
            if not supervisor.ready():
                output.note("Waiting for the local platform ...")
            supervisor.wait_ready()
        yield settings
    finally:
        if supervisor is not None:
            supervisor.stop()
