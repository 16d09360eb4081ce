"""What the scripts at the root do: install, start, watch and stop the services.

`services.py` is the one table of them. What runs before `.venv` exists (stage one: `__main__`,
`console`, `steps`, `preflight`, `environment`, `jars`, and the installing half of `minio` and `postgres`) uses the
standard library alone.
"""
