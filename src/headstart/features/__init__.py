"""Features of frozen layers: computed once per image, cached, and shared between runs."""
