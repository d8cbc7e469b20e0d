"""What depends on how aiohttp works inside."""

import aiohttp


def test_guarded_connections_were_checked_for_this_release_of_aiohttp() -> None:
    # After an update of aiohttp: compare its `RequestHandler` and `AppRunner` with what
    # `containerstacks_shared/process/http_connections.py` overrides, then name the new release here.
    assert aiohttp.__version__ == "3.14.5"
