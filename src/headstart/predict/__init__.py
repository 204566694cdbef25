"""A trained network at work: from images to labels, as its run decoded and computed them."""
