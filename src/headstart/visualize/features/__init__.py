"""Feature visualization: pictures that excite units, beside the images that do so most."""
