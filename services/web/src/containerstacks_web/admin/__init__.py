"""The pages of administrators: what they look at when something is wrong, and the forms by which they act."""
