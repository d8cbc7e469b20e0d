"""What the status page says: components, incidents, history and versions."""
