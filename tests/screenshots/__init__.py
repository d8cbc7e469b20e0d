"""Pictures of every page in every state, for docs/pages.md."""
