"""Everything that can be wrong with a command, looked at before anything runs."""
