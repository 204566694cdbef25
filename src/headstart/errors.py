"""The one exception that a user is meant to read."""


class UserError(Exception):
    """Bad input: the message names the key or file and says what to change; shown without a traceback, exit code 2."""
