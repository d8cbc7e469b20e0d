"""From a notification to every browser: the feed reads, the hub fans out, the socket holds the connection."""
