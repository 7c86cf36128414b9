"""A node's side of Flower: a ClientApp that hands a message's bytes to the node and takes its answer's bytes.

Nothing of a message is executed: one bytes field of one ConfigRecord in, one out.  One of the files that touch
Flower; the other is `coordinator/flower.py`.
"""

from __future__ import annotations

from collections.abc import Callable

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

__all__ = ["FIELD", "RECORD", "client_app"]

RECORD, FIELD = "datatrust", "message"
"""Where the bytes are in a Flower message."""


def client_app(handle: Callable[[bytes], bytes]) -> ClientApp:
    """The ClientApp of one node; `handle` answers every message and never raises."""
    app = ClientApp()

    @app.query()
    def query(message: Message, context: Context) -> Message:
        record = message.content.config_records.get(RECORD)
        raw = record.get(FIELD) if record is not None else None
        answer = handle(raw if isinstance(raw, bytes) else b"")
        return Message(RecordDict({RECORD: ConfigRecord({FIELD: answer})}), reply_to=message)

    return app
