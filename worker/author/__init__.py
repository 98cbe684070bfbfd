"""The author: the model that selects facts and writes self-edits, and how its adapter is trained."""
