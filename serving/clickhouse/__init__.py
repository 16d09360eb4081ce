"""The served tables, and the trades straight from Kafka, in ClickHouse: for who sets `CLICKHOUSE` or `CLICKHOUSE_URL`."""
