"""Actions that pages and API share: thin functions between a handler and the nouns of `shared`."""
