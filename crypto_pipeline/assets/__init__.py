"""The Dagster assets: bookkeeping around the table modules."""
