"""Templates into responses: what every page shows, whichever package its handler is in."""
