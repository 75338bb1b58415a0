"""`python -m chat_app`: settings, store, local platform where none is named, runs, web app; and a clean stop.

Starts and stops the parts in order. Knows nothing of what they do.
"""

from __future__ import annotations

import logging
import signal
import socket
import sys
import threading
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from chat_app.settings import Settings, quiet_libraries

quiet_libraries()  # before anything below imports the libraries

import uvicorn  # noqa: E402
from filelock import FileLock, Timeout  # noqa: E402

from flywheel.errors import Conflict, FlywheelError, InputError  # noqa: E402
from flywheel.intake import IntakeWorker  # noqa: E402
from flywheel.people import People  # noqa: E402
from flywheel.platform import Supervisor, ensure_platform  # noqa: E402
from flywheel.promote import Registry  # noqa: E402
from flywheel.runs import Wheel  # noqa: E402
from flywheel.store import Store  # noqa: E402
from tools import warm_up  # noqa: E402

if TYPE_CHECKING:
    from chat_app.services import Services


def say(text: str) -> None:
    """A line for the person at the terminal."""
    print(text, file=sys.stderr, flush=True)


def claim_port(settings: Settings) -> socket.socket:
    """Bind the address before anything slow starts. Raises Conflict if it is taken."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        message = f"cannot listen on {settings.host}:{settings.port}: {error.strerror}; stop what uses it or set CHAT_PORT"
        raise Conflict(message) from error
    return listener


def refuse_without_people(settings: Settings, people: People) -> None:
    """Where others can reach the app, somebody must be able to sign in. Raises InputError with the command to type."""
    if not people.any():
        how = "add the first person with `flywheel people add NAME --role developer`, or set OIDC_ISSUER"
        raise InputError(f"{settings.address} can be reached by others, and nobody could sign in: {how}")
    if not settings.secure_cookies:
        say(f"Warning: {settings.address} is not encrypted: passwords can be read on the way. Put a proxy with https before it.")


def stop_in_order() -> None:
    """Let what ends us from outside (kill, a closed terminal) stop the parts in order too, as Ctrl-C does."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    for ending in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(ending) is not signal.SIG_IGN:  # nohup ignores SIGHUP, and means it
            signal.signal(ending, interrupt)


def interrupt_lost_turns(settings: Settings, store: Store, stack: ExitStack) -> None:
    """Close the turns that a dead app left running; not while another app is alive, since they may be its own."""
    alone = FileLock(settings.home / "chat.lock", timeout=0)
    try:
        alone.acquire()
    except Timeout:
        return
    stack.callback(alone.release)
    store.interrupt_running()


def announce(supervisor: Supervisor, address: str) -> None:
    """Tell when the first question can be asked, or why it cannot."""
    try:
        supervisor.wait_ready()
    except FlywheelError as error:
        say(f"The local platform did not start: {error}")
    else:
        say(f"Ready. Ask your first question at {address}")


def warm(services: Services) -> None:
    """Load what the first question would otherwise wait for: cities, units and rates; the rails' engine. Fill the queue."""
    warm_up()
    services.rails.warm()
    services.desk.waiting()


def serve(settings: Settings, stack: ExitStack) -> None:
    """Start everything and answer until a signal comes."""
    listener = claim_port(settings)
    stack.callback(listener.close)
    store = Store(settings.flywheel.store_path)
    stack.callback(store.close)
    if settings.needs_people:
        refuse_without_people(settings, People(store.database))
    address = settings.address
    say(f"Flywheel Chat: {address}")
    named, supervisor = ensure_platform(settings.flywheel, log=say)
    settings = replace(settings, flywheel=named)
    if supervisor is not None:
        stack.callback(supervisor.stop)
        say("Loading: web pages, local platform (model, trainer, evaluator) …")
    Registry(store.database).begin(settings.flywheel.base_model)
    wheel = Wheel(settings.flywheel, store)
    wheel.launch()
    stack.callback(wheel.shutdown)
    interrupt_lost_turns(settings, store, stack)
    intake = IntakeWorker(settings.flywheel, store)
    intake.start()
    stack.callback(intake.stop)

    from chat_app.second_look import SecondLook
    from chat_app.services import Services  # Gradio and the rails take seconds to import: the platform loads meanwhile
    from chat_app.web import create_app

    services = Services.build(settings, store, wheel)
    threading.Thread(target=warm, args=(services,), daemon=True).start()
    second_look = SecondLook(services)
    second_look.start()
    stack.callback(second_look.stop)

    def status() -> dict[str, Any]:
        ready = supervisor is None or supervisor.ready()
        return {"web": True, "model": ready, "loading": [] if ready else ["local platform"]}

    app = create_app(services, status)
    behind_proxy = settings.public_url is not None  # then the proxy on this machine says where a request comes from
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2, proxy_headers=behind_proxy)
    server = uvicorn.Server(config)
    if supervisor is None:
        say(f"Ready. Services: {settings.flywheel.nemo_url}")
    else:
        threading.Thread(target=announce, args=(supervisor, address), daemon=True).start()
    server.run(sockets=[listener])


def main() -> int:
    """Run the app; returns the exit code."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    stop_in_order()
    try:
        settings = Settings.from_environment()
        settings.flywheel.prepare()
        with ExitStack() as stack:
            try:
                serve(settings, stack)
            finally:
                say("Stopping …")
    except FlywheelError as error:
        say(f"Error: {error}")
        return 1
    except KeyboardInterrupt:
        pass
    say("Stopped.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
