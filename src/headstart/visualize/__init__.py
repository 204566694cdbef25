"""Look into a network: what its units respond to, where it looks, what fine-tuning changed."""
