"""Features of a frozen prefix: computed once per image, kept, shared."""
