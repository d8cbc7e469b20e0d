"""What several tests share: databases, fleets, the clock, waiting, real processes."""
