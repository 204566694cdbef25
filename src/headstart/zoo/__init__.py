"""The model table: what each network costs and what it is published to reach, measured on this machine."""
