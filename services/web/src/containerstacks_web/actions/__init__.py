"""What pages and API do alike: thin functions between a handler and the nouns of `shared`."""
