"""A strategy applied to a network: rates, routes, and the table that says so."""
