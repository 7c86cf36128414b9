"""The coordinator's interface over HTTPS: what is public of a trust, and what its people hand in and fetch.

    from coordinator.api import ApiServer
    ApiServer(CoordinatorSettings(Path("…/coordinator"))).run()

Everything that is handed in is signed, as a document and as a request; the interface decides nothing that a node or a
client would have to believe.  Its description for machines: GET /v1/openapi.json.
"""

from coordinator.api.app import create_app
from coordinator.api.limits import Limits
from coordinator.api.server import ApiServer

__all__ = ["ApiServer", "Limits", "create_app"]
