"""Looking over a whole installation: what is right, what is not, and what to do about it. Nothing is changed."""
