"""The installed version of headstart."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("headstart")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"
