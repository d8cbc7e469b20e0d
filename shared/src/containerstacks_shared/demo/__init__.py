"""A made-up fleet: what a hosting company's database could look like, and how it could change."""
