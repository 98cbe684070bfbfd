"""Learning runs over HTTP: list, watch, start."""
