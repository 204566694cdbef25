"""A page on this machine to try a trained network on one's own images."""
