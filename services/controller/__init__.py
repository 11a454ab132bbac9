"""The controller: the REST API, and the searches that it keeps going. It trains nothing and imports no torch."""
