"""What this process measures, for Prometheus. Metrics are module-level objects on the library's own registry."""

from aiohttp import web
from prometheus_client import REGISTRY
from prometheus_client.exposition import choose_encoder


async def metrics_handler(request: web.Request) -> web.Response:
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return web.Response(body=encode(REGISTRY), headers={"Content-Type": content_type})
