"""What this process measures, for Prometheus. Metrics are module-level objects on `REGISTRY`."""

from typing import Final

from aiohttp import web
from prometheus_client import REGISTRY as _PROCESS_REGISTRY
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

# The library's own registry of the process: a metric declared without naming one ends up here as well.
REGISTRY: Final[CollectorRegistry] = _PROCESS_REGISTRY


async def metrics_handler(request: web.Request) -> web.Response:
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return web.Response(body=encode(REGISTRY), headers={"Content-Type": content_type})
