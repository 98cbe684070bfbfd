"""The operator's command line: a client of the REST API, plus `engram up`, which starts the whole product."""
