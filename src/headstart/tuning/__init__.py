"""Choose the fastest hardware settings by measuring them."""
