"""The fastest hardware settings, measured."""
