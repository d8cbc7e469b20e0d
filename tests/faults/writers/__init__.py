"""Everybody who writes to the database at once, at every isolation level, beside several billers.

`deeds` is what the writers do, `facts` works out from the history what it must have cost, `campaign` puts them
together.
"""
