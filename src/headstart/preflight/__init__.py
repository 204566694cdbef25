"""The check of a whole command before anything runs."""
