"""The three processes of a coordinator, each alone: the interface, the worker, the SuperLink; and how each is seen.

`python -m coordinator.serve.processes HOME api|worker|superlink` runs one until it is told to stop.
"""

from __future__ import annotations

import ctypes
import http.client
import os
import resource
import signal
import socket
import ssl
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from coordinator.serve.logs import logger
from coordinator.settings import CoordinatorSettings
from trust.errors import DataTrustError, InvalidInput, nearest
from trust.times import now

__all__ = ["PARTS", "SUPERVISOR", "main", "not_listening", "run_part", "say_opened"]

PARTS = ("superlink", "worker", "api")
"""In the order in which they are started; they are ended in the other."""
SUPERVISOR = "DATATRUST_SUPERVISOR"
"""The environment's variable that names the process that a part must not outlive."""
_OPEN_STATES = ("ready", "waiting")
"""What a line of the worker begins with once it has opened its run at the SuperLink."""
_PROBE_SECONDS = 2.0


def run_part(settings: CoordinatorSettings, part: str) -> int:
    """Run one of `PARTS` until it is told to stop; its exit code.

    Raises: InvalidInput for another name, and for files that it cannot start with.
    """
    if part not in PARTS:
        raise InvalidInput(f"no part {part!r} of a coordinator", expected=nearest(part, PARTS))
    settings.said  # noqa: B018 - raises for a file that cannot be used
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would hold keys and totals
    if part == "worker":
        return _worker(settings)
    settings.days_left(now())
    if part == "superlink":
        return _superlink(settings)
    return _api(settings)


def _superlink(settings: CoordinatorSettings) -> int:
    from coordinator.flower.superlink import main as superlink

    host, port = _split(settings.superlink)
    return superlink([str(settings.engine), host, port])


def _worker(settings: CoordinatorSettings) -> int:
    from coordinator.serve.worker import main as worker

    return worker([str(settings.folder), settings.superlink_here])


def _api(settings: CoordinatorSettings) -> int:
    from coordinator.api import ApiServer

    ApiServer(settings).run()
    return 0


def _split(listen: str) -> tuple[str, str]:
    """Host, without the brackets of an address of version 6, and port."""
    host, _, port = listen.rpartition(":")
    return host.strip("[]"), port


# ---- how each is seen


def not_listening(settings: CoordinatorSettings, part: str) -> str:
    """Why the interface or the SuperLink cannot be reached from here yet; empty once it can.

    Its certificate is verified: what listens is ours.
    """
    address = settings.api_here if part == "api" else settings.superlink_here
    host, port = _split(address)
    try:
        context = ssl.create_default_context(cafile=str(settings.engine / "ca.pem"))
        if part == "api":
            return _api_state(host, int(port), context)
        with socket.create_connection((host, int(port)), _PROBE_SECONDS) as plain:
            context.wrap_socket(plain, server_hostname=host).close()
    except ssl.SSLCertVerificationError as wrong:
        return f"what listens at {address} has another certificate ({wrong.verify_message})"
    except (OSError, http.client.HTTPException) as wrong:
        return f"nothing answers at {address} ({type(wrong).__name__})"
    return ""


def _api_state(host: str, port: int, context: ssl.SSLContext) -> str:
    connection = http.client.HTTPSConnection(host, port, timeout=_PROBE_SECONDS, context=context)
    try:
        connection.request("GET", "/readyz")
        status = connection.getresponse().status
    finally:
        connection.close()
    return "" if status == 200 else f"the interface is not ready (status {status}); see its lines"


def say_opened(event: str) -> bool:
    """Whether a line of the worker says that its run is open."""
    return event.startswith(_OPEN_STATES)


# ---- a process


def main(arguments: Sequence[str]) -> int:
    """The exit code: 0 when told to stop, 2 or 3 for what cannot be used."""
    if len(arguments) != 2:
        print("usage: python -m coordinator.serve.processes HOME api|worker|superlink", file=sys.stderr)
        return 2
    supervised = SUPERVISOR in os.environ
    try:
        _end_with_supervisor()
        return run_part(CoordinatorSettings(Path(arguments[0])), arguments[1])
    except DataTrustError as wrong:
        if supervised:
            logger(as_json=True).error(str(wrong))
        else:
            print(wrong, file=sys.stderr)
        return wrong.exit_code
    except KeyboardInterrupt:
        return 0


def _end_with_supervisor() -> None:
    """A part is told to stop when its supervisor is gone, however that ended (Linux: prctl(2), PR_SET_PDEATHSIG)."""
    parent = os.environ.pop(SUPERVISOR, "")
    if not parent or sys.platform != "linux":
        return
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != int(parent):  # it ended before we asked
        raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
