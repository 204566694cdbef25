"""Networks by timm name, their weights, and their splits."""
