"""Tell facts in one space and ask for them in others: whether any of it is answered there."""
