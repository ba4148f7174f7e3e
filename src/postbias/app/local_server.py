"""Run a web application on this machine until it is interrupted."""

from __future__ import annotations

import signal
import socket
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from postbias.app.access import LOOPBACK, Access
from postbias.errors import InputError

# Ctrl+C, `kill`, and the end of the terminal.
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def open_socket(host: str, port: int) -> socket.socket:
    """Bind the address to listen on.

    Args:
        host: Address of an interface of this machine.
        port: Port; 0 for any free one.

    Returns:
        The bound socket.

    Raises:
        InputError: If the address is in use or not one of this machine.
    """
    try:
        return socket.create_server((host, port))
    except OSError as error:
        raise InputError(
            f"cannot listen on {host}:{port}: {error.strerror or error}",
            do="choose another --port or --host",
        ) from error


def run_server(
    app: FastAPI,
    listener: socket.socket,
    access: Access,
    announce: Callable[[str], None],
    *,
    opens_browser: bool,
) -> None:
    """Serve until SIGINT or SIGTERM.

    Args:
        app: The application.
        listener: The bound socket.
        access: Who may use the server.
        announce: Called with the address to open, once connections are accepted.
        opens_browser: Whether to open the address in a browser.
    """
    host, port = listener.getsockname()[:2]
    query = "" if access.token is None else f"/?token={access.token}"
    url = f"http://{_name_to_open(host)}:{port}{query}"
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, timeout_graceful_shutdown=3, lifespan="off"
    )
    server = _AnnouncingServer(config, lambda: announce(url))
    if opens_browser:
        server.actions.append(lambda: webbrowser.open(url))
    with _stopping_normally(server):
        server.run(sockets=[listener])


@contextmanager
def _stopping_normally(server: uvicorn.Server) -> Iterator[None]:
    """Return from the server on a signal, so that temporary folders are deleted.

    The server handles signals itself, and then sends them again to the handlers from before.
    """

    def stop(*_: object) -> None:
        server.should_exit = True

    before = {number: signal.signal(number, stop) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _name_to_open(host: str) -> str:
    """Return this machine's address in the network if the server listens on all interfaces."""
    if host != "0.0.0.0":  # noqa: S104 - a comparison
        return host
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing: chooses the outgoing interface
        except OSError:
            return LOOPBACK
        return str(probe.getsockname()[0])


class _AnnouncingServer(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, *actions: Callable[[], object]) -> None:
        super().__init__(config)
        self.actions = list(actions)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for action in self.actions:
            action()
