"""A map of features: one point an image, near each other where the network finds images alike."""
