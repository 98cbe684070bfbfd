"""Tell facts, have some of them forgotten: is their recall back at the base's, and is the rest kept."""
