"""The model table: the cost of each network, measured on this machine, and its published accuracy."""
