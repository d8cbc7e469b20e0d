"""Status and about pages, JSON API, live WebSocket and the built-in hourly billing."""
