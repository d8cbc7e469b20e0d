"""HTTP itself: who is there, limits, what is accepted, headers, errors. It knows nothing of what is served."""
