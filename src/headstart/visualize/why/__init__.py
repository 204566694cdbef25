"""Where in an image a network finds what speaks for a class."""
