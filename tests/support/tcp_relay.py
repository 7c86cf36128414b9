"""A TCP relay of the tests, on loopback: it delays each way, stalls, and cuts all connections after so many bytes.

No network namespace is needed, and no rights.  Whoever was cut off may connect again.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from contextlib import suppress

__all__ = ["Relay"]

_CHUNK = 1 << 16


class Relay:
    """Passes connections on to a port of this machine, until `close`.

    Attributes:
        port, to: where it listens, and where it passes on to.
        delay: seconds for each piece, each way.
        carried: bytes so far, both ways.
        cuts, connections: how many there were.
    """

    def __init__(self, to: int, *, delay: float = 0.0) -> None:
        self.delay, self.carried, self.cuts, self.connections = delay, 0, 0, 0
        self.to, self._cut_at = to, 0
        self._open: set[asyncio.StreamWriter] = set()
        self._vanished: set[asyncio.StreamWriter] = set()
        self._flows = threading.Event()
        self._flows.set()
        self._loop = asyncio.new_event_loop()
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.port = int(self._socket.getsockname()[1])
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)
        self._thread.start()

    def cut_after(self, size: int) -> None:
        """Cut every connection, without a goodbye, once so many bytes more have passed."""
        self._cut_at = self.carried + size

    def cut_and_wait(self, size: int, seconds: float) -> bool:
        """The same, and whether it has happened within so long."""
        before = self.cuts
        self.cut_after(size)
        end = time.monotonic() + seconds
        while self.cuts == before and time.monotonic() < end:
            time.sleep(0.005)
        return self.cuts > before

    def stall(self) -> None:
        """Nothing passes any more; connections stay open, and new ones are taken."""
        self._flows.clear()

    def vanish(self) -> None:
        """What is open now carries nothing any more, and is not closed; new connections are as ever."""
        self._vanished |= self._open

    def flow(self) -> None:
        """What waits passes now."""
        self._flows.set()

    def close(self) -> None:
        """End it, and all connections."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    # ---- in its thread

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            server = self._loop.run_until_complete(asyncio.start_server(self._serve, sock=self._socket))
            self._loop.run_forever()
            server.close()
            self._cut()
            self._loop.run_until_complete(self._finish())
        finally:
            asyncio.set_event_loop(None)
            self._loop.close()

    async def _finish(self) -> None:
        pending = asyncio.all_tasks() - {asyncio.current_task()}
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self.to)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, back}
        self._open |= both
        try:
            await asyncio.gather(self._pass(reader, back), self._pass(there, writer))
        except OSError:
            pass
        finally:
            for end in both:
                end.transport.abort()
            self._open -= both

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One way: each piece when its time has come."""
        pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def read() -> None:
            while piece := await reader.read(_CHUNK):
                await pieces.put((self._loop.time() + self.delay, piece))
            await pieces.put((self._loop.time() + self.delay, b""))

        reading = asyncio.ensure_future(read())
        try:
            while True:
                getting = asyncio.ensure_future(pieces.get())
                await asyncio.wait({getting, reading}, return_when=asyncio.FIRST_COMPLETED)
                if not getting.done() and reading.done() and reading.exception() is not None:
                    getting.cancel()
                    raise ConnectionResetError
                due, piece = await getting
                await asyncio.sleep(max(0.0, due - self._loop.time()))
                while not self._flows.is_set() or writer in self._vanished:
                    await asyncio.sleep(0.01)
                if not piece:
                    with suppress(OSError, RuntimeError):
                        writer.write_eof()
                    return
                await self._write(writer, piece)
        finally:
            reading.cancel()

    async def _write(self, writer: asyncio.StreamWriter, piece: bytes) -> None:
        if self._cut_at and self.carried + len(piece) >= self._cut_at:
            writer.write(piece[: self._cut_at - self.carried])
            with suppress(OSError):
                await asyncio.wait_for(writer.drain(), 0.2)
            self.carried, self._cut_at = self.carried + len(piece), 0
            self._cut()
            self.cuts += 1
            raise ConnectionResetError
        self.carried += len(piece)
        writer.write(piece)
        await writer.drain()

    def _cut(self) -> None:
        for end in list(self._open):
            end.transport.abort()
