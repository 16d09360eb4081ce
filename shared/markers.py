"""Files that `crypto restore` and `crypto upgrade` leave in the folder of a deployment for those who come after."""

BEGUN = "restoring.json"
"""A restore was begun here and is not whole: nothing is deployed until it is."""
UPGRADING = "upgrading.json"
"""An upgrade was begun here and is not done: nothing is deployed until it is, or is rolled back."""
KAFKA_IS_NEW = "kafka-is-new"
"""The lake is an earlier Kafka's: bronze goes on at the beginning of this one, and says so in `bronze.gaps`."""
