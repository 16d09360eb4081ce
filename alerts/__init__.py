"""Alerts on data and markets: rules of `config/alerts.yaml`, kept in PostgreSQL, and sent to where people already are."""
