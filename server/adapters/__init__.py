"""Adapter versions over HTTP: lineage, rollback, promote, export."""
