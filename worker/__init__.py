"""The learning process: extraction, self-edits, training, probing, publishing. Never imports the server."""
