"""The methods that are compared, each behind `protocol.Method`."""
