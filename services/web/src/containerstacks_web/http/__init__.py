"""The HTTP pipeline: identity, limits, accepted requests, headers, errors. It knows nothing about pages and data."""
