"""The colours and the logo that an operator gives the pages."""
