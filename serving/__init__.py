"""The lake's tables in PostgreSQL, for dashboards, BI tools and notebooks: what is served, its schema, and its rows."""
