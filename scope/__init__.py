"""Scope: which messages the memory answers. Outside of a version's scope the base answers, untouched.

Both processes use it: the worker to make a version's scope and to examine it as it is served, the server to route.
"""
