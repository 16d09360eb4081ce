"""What is older than `config/retention.yaml` keeps it goes, once what was made of it is verified."""
