"""`python -m flywheel.local`: one local platform over one home folder, until a signal ends it.

Knows the command line, the port, the lock on the home and the signals. What runs behind the port is `platform`.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

import click
from filelock import FileLock, Timeout

from flywheel.local.base_model import SHIPPED_ID, SHIPPED_PATH, BaseModel, parse_base_model
from flywheel.local.settings import prepare_environment

_LOCK, _PID = "platform.lock", "platform.pid"
_SECONDS_FOR_OPEN_REQUESTS = 1


def _base_model(_context: click.Context, _parameter: click.Parameter, text: str) -> BaseModel:
    try:
        return parse_base_model(text)
    except (ValueError, OSError) as error:
        raise click.BadParameter(str(error)) from error


@click.command()
@click.option("--home", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder for everything it keeps.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, show_default=True, help="Port on 127.0.0.1; 0 picks a free one."
)
@click.option("--json", "as_json", is_flag=True, help="When ready, print one JSON object with the URLs, and nothing else.")
@click.option(
    "--base-model",
    metavar="ID=PATH",
    default=f"{SHIPPED_ID}={SHIPPED_PATH}",
    show_default=f"{SHIPPED_ID}, which comes along",
    callback=_base_model,
    help="Hugging Face folder of a causal language model whose chat template takes tools, and the id to serve it as.",
)
def main(home: Path, port: int, as_json: bool, base_model: BaseModel) -> None:
    """Run NeMo microservices on this machine: all services on one port."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # Every request of huggingface_hub's and the evaluator's client would be a line.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    with _only_one(home.expanduser().absolute()) as home, _listen(port) as listener:
        status = _serve(home, listener, as_json, base_model)
    _leave(status)


def _leave(status: int) -> NoReturn:
    """End the process now. Taking torch apart takes seconds, and crashes where a thread is still loading it."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _stop(_signal: int, _frame: object) -> None:
    raise SystemExit(0)


@contextmanager
def _only_one(home: Path) -> Iterator[Path]:
    """Hold the home, made private, for this process alone; a second platform on it is refused with the first one's process id."""
    lock = FileLock(home / _LOCK)
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        home.chmod(0o700)
        lock.acquire(timeout=0)
    except Timeout:
        holder = (home / _PID).read_text(encoding="utf-8").strip() if (home / _PID).exists() else "unknown"
        raise click.ClickException(
            f"the platform in {str(home)!r} already runs as process {holder}; use that one, stop it, or choose another --home"
        ) from None
    except OSError as error:
        raise click.ClickException(f"cannot use the folder {str(home)!r}: {error.strerror}; choose another --home") from error
    try:
        (home / _PID).write_text(f"{os.getpid()}\n", encoding="utf-8")
        yield home
    finally:
        (home / _PID).unlink(missing_ok=True)
        lock.release()


@contextmanager
def _listen(port: int) -> Iterator[socket.socket]:
    with socket.socket() as listener:
        # A restart on the same port need not wait for old connections to be forgotten.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
            listener.listen(128)
        except OSError as error:
            raise click.ClickException(f"cannot listen on port {port}: {error.strerror}; choose another --port, or 0") from error
        yield listener


def _serve(home: Path, listener: socket.socket, as_json: bool, base: BaseModel) -> int:
    """Run the platform until a signal stops it; return the exit status."""
    prepare_environment()
    # Imported after the environment is set: these import the libraries that read it.
    import uvicorn

    from flywheel.local.platform import Platform, Urls

    urls = Urls.at(f"http://127.0.0.1:{listener.getsockname()[1]}")
    try:
        platform = Platform(home, base, urls)
    except Exception as error:
        logging.exception("the platform could not be built")
        return _failed(f"cannot start the platform in {str(home)!r} with the model {base.id!r}: {error}")
    failures: list[Exception] = []

    def opened() -> None:
        click.echo(json.dumps({**urls._asdict(), "pid": os.getpid()}) if as_json else _exports(urls._asdict()))

    def failed(error: Exception) -> None:
        failures.append(error)
        server.should_exit = True

    app = platform.app(opened, failed)
    config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=_SECONDS_FOR_OPEN_REQUESTS)
    server = uvicorn.Server(config)
    # The server catches signals while it runs, and sends them once more when it has stopped.
    with suppress(SystemExit):
        server.run(sockets=[listener])
    return _failed(str(failures[0])) if failures else 0


def _failed(reason: str) -> int:
    click.echo(f"Error: {reason}", err=True)
    return 1


def _exports(urls: dict[str, str]) -> str:
    """The addresses as lines for a shell."""
    return "\n".join(f"export {name.upper()}={url}" for name, url in urls.items())


if __name__ == "__main__":
    main()
