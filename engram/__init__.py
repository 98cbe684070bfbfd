"""What the server and the worker share. Imports neither torch nor fastapi."""
