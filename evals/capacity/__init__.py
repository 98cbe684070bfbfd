"""Tell facts until there is no room: how much of all that was told is recalled, and at what price."""
