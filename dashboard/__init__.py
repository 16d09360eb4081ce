"""The web page and its API: what the lake holds, joined to what streams now."""
