"""The served tables, and the trades straight from Kafka, in ClickHouse: off unless `CLICKHOUSE` or its URL is set."""
