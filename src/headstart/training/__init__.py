"""Phases as separate fits: fitted heads, and gradient steps under Lightning."""
