"""Importing this module registers every architecture of headstart's own with timm.

One line a module, in the order in which the field came to them.
"""

from headstart.models import (
    alexnet,  # noqa: F401
    googlenet,  # noqa: F401
    lenet,  # noqa: F401
)
