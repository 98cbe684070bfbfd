"""Chat: which version answers, what is stored, and the way to the engine and back."""
