"""Networks by timm name, their weights, and where they can be cut."""
