"""Run the stages of one command in forks of a process that has imported the large packages.

A pipeline has a dozen stages, and each one imports MLflow, and several torch, for seconds.
`python -m postbias.tracking.fork_server dvc repro` runs `dvc repro`, and imports these packages
once, while the first stage runs. From then on, a stage below that command has its script run by a
fork of the server, in its own working directory and with its own arguments, environment and
standard streams, and ends with the exit code of the fork. To DVC nothing changes: it starts the
same command and waits for it.

A fork imports the repository's own modules anew, so it runs the code that is there when its stage
starts. Without the server, or on systems other than Linux, stages run as usual.
"""

from __future__ import annotations

import atexit
import gc
import json
import multiprocessing
import os
import runpy
import select
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from postbias.tracking.database import configure_environment

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

#: What stages import. None of them starts a thread or asks for a GPU on import, which a fork would
#: not survive; a test checks this.
PACKAGES = (
    "mlflow", "mlflow.store.tracking.sqlalchemy_store", "dvc.repo", "pandas", "pyarrow.dataset",
    "scipy.optimize", "scipy.stats", "sklearn.linear_model", "sklearn.metrics", "onnxruntime",
    "onnxruntime.quantization", "torch", "torch.onnx", "torchvision.transforms.v2", "onnxscript",
    "transformers.trainer",
)  # fmt: skip

_ADDRESS = "POSTBIAS_FORK_SERVER"
_POLL_S = 0.2
_LENGTH_BYTES = 8


@dataclass(frozen=True, slots=True)
class _StageCall:
    """How a stage was started."""

    argv: list[str]
    path: list[str]
    folder: str
    umask: int
    environment: dict[str, str]


def run_in_fork() -> None:
    """End this process with the exit code of a fork that runs its script, if there is a server.

    Raises:
        SystemExit: With the fork's exit code, or 128 plus the signal that ended it.
    """
    address = os.environ.get(_ADDRESS)
    # The processes of torchrun find each other by what torchrun sets up for each of them.
    if not address or "RANK" in os.environ:
        return
    with socket.socket(socket.AF_UNIX) as server:
        process_id = _request_fork(server, address)
        if process_id is None:
            return
        # Ctrl-C reaches the fork too, which ends as a stage does; other signals only this process.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: _send_signal(process_id, signal.SIGTERM))
        answer = _read(server, _LENGTH_BYTES)
    if (
        not answer
    ):  # the server was killed: its fork must not go on writing when the stage has ended
        _send_signal(process_id, signal.SIGKILL)
    code = int.from_bytes(answer, signed=True) if answer else -signal.SIGKILL
    raise SystemExit(code if code >= 0 else 128 - code)


def _send_signal(process_id: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(process_id, number)


def _request_fork(server: socket.socket, address: str) -> int | None:
    """Send how this process was started; return the fork's process id, None if there is none."""
    umask = os.umask(0)
    os.umask(umask)  # it cannot be read without being set
    environment = {name: value for name, value in os.environ.items() if name != _ADDRESS}
    call = _StageCall(sys.argv, sys.path, str(Path.cwd()), umask, environment)
    content = json.dumps(asdict(call)).encode()
    try:
        server.connect(address)
        # With the first bytes, because file descriptors cannot be sent alone.
        socket.send_fds(server, [len(content).to_bytes(_LENGTH_BYTES)], [0, 1, 2])
        server.sendall(content)
        process_id = _read(server, _LENGTH_BYTES)
    except OSError:  # it is importing packages, or has ended
        return None
    return int.from_bytes(process_id) if process_id else None


def run_command() -> None:
    """Run a command, and serve the stages below it."""
    command = sys.argv[1:]
    if sys.platform != "linux":
        raise SystemExit(subprocess.run(command, check=False).returncode)  # noqa: S603 - the user's
    # Not a TemporaryDirectory, which forks would remove too when they end.
    address = Path(tempfile.mkdtemp(prefix="postbias-fork-")) / "socket"
    try:
        environment = os.environ | {_ADDRESS: str(address)}
        with subprocess.Popen(command, env=environment) as process:  # noqa: S603 - the user's
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command ends first, if it does
            signal.signal(signal.SIGTERM, lambda *_: process.terminate())
            _serve(address, process)
    finally:
        shutil.rmtree(address.parent, ignore_errors=True)
    code = process.returncode
    # Python takes seconds to take apart what was imported; no file is open.
    os._exit(code if code >= 0 else 128 - code)


def _serve(address: Path, command: subprocess.Popen[bytes]) -> None:
    """Serve the stages of a command until it ends.

    The first stage runs by itself. Only then are the packages imported, because often no stage runs
    at all, and at the same time, because it needs few of them.
    """
    with _listen(address) as listener:
        while not select.select([listener], [], [], _POLL_S)[0]:
            if command.poll() is not None:
                return
        listener.accept()[0].close()
    import_packages(lambda: command.poll() is None)
    with _listen(address) as listener, closing(_Forks(listener)) as forks:
        while command.poll() is None:
            forks.serve()


@contextmanager
def _listen(address: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(address))
        listener.listen()
        yield listener
    address.unlink(missing_ok=True)


def import_packages(is_needed: Callable[[], bool] = lambda: True) -> None:
    """Import what stages need, for forks to share.

    Args:
        is_needed: Asked before each package; the rest is left out if it is not.
    """
    configure_environment()
    # As in stages/train.py; torch reads it on import.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    gc.disable()  # the garbage collector would take a quarter of the time, and find nothing
    for name in PACKAGES:
        if is_needed():
            import_module(name)
    gc.enable()


class _Forks:
    """Forks a process for each stage that connects, and tells the stage how the process ended."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ)
        self._processes: dict[socket.socket, BaseProcess] = {}

    def close(self) -> None:
        """Kill what still runs."""
        for stage, process in list(self._processes.items()):
            process.kill()
            self._end(stage)
        self._selector.close()

    def serve(self) -> None:
        """Wait a moment for stages to start or end."""
        events = self._selector.select(_POLL_S)
        for stage, process in list(self._processes.items()):
            if process.exitcode is not None:
                self._end(stage)
        for key, _ in events:
            if key.fileobj is self._listener:
                self._start(self._listener.accept()[0])
            elif fork := self._processes.get(key.data):
                fork.kill()  # its stage, which sends nothing more, was killed
                self._end(key.data)

    def _start(self, stage: socket.socket) -> None:
        streams: list[int] = []
        try:
            length, streams, _, _ = socket.recv_fds(stage, _LENGTH_BYTES, 3)
            call = _StageCall(**json.loads(_read(stage, int.from_bytes(length))))
            inherited = [self._listener, *self._processes, stage]
            process = multiprocessing.get_context("fork").Process(
                target=_run_stage, args=(call, streams, inherited)
            )
            process.start()
        except (OSError, ValueError):  # it was killed before it had sent everything
            stage.close()
            return
        finally:
            for stream in streams:
                os.close(stream)
        assert process.pid is not None
        with suppress(OSError):  # it was killed, which the next call of `serve` notices
            stage.sendall(process.pid.to_bytes(_LENGTH_BYTES))
        self._processes[stage] = process
        self._selector.register(stage, selectors.EVENT_READ, stage)

    def _end(self, stage: socket.socket) -> None:
        process = self._processes.pop(stage)
        process.join()
        self._selector.unregister(stage)
        with suppress(OSError):  # it was killed
            stage.sendall((process.exitcode or 0).to_bytes(_LENGTH_BYTES, signed=True))
        stage.close()


def _run_stage(
    stage: _StageCall, streams: Sequence[int], inherited: Sequence[socket.socket]
) -> None:
    """Become the process of a stage and run its script."""
    gc.freeze()  # garbage collection does not search, nor copy, what was imported before the fork
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for connection in inherited:
        connection.close()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(stage.folder)
    os.umask(stage.umask)
    os.environ.clear()
    os.environ.update(stage.environment)
    sys.argv, sys.path[:] = stage.argv, stage.path
    for name in [name for name in sys.modules if name.split(".")[0] == "postbias"]:
        del sys.modules[name]
    try:
        runpy.run_path(str(Path(stage.argv[0]).resolve()), run_name="__main__")
    finally:
        # multiprocessing ends a process without them; they remove temporary files, among others.
        atexit._run_exitfuncs()


def _read(connection: socket.socket, n_bytes: int) -> bytes:
    """Read this many bytes; fewer only if the other process has ended."""
    parts = []
    while n_bytes and (part := connection.recv(n_bytes)):
        parts.append(part)
        n_bytes -= len(part)
    return b"".join(parts)


if __name__ == "__main__":
    run_command()
