"""From the exchanges' sockets to Kafka: a plain service that knows neither Dagster nor Spark."""
