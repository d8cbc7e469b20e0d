"""Authentication: sessions, API keys, the original application's tokens, and the login form."""
