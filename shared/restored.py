"""What `crypto restore` leaves in the folder of a deployment for those who come after it."""

BEGUN = "restoring.json"
"""A restore was begun here and is not whole: nothing is deployed until it is."""
KAFKA_IS_NEW = "kafka-is-new"
"""The lake is an earlier Kafka's: bronze goes on at the beginning of this one, and says so in `bronze.gaps`."""
