"""`/api/v1`: the same answers that the page draws."""
