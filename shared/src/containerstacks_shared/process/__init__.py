"""How a process starts, is watched and stops."""
