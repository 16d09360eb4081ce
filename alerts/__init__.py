"""Alerts on data and markets: rules of `config/alerts.yaml`, kept in PostgreSQL, sent to where people already are."""
