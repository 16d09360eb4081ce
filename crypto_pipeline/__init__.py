"""The Dagster project: bronze, silver and gold tables, made by Spark, kept in Hudi."""
