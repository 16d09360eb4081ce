"""Files that `crypto restore` and `crypto upgrade` leave in the folder of a deployment for those who come after."""

BEGUN = "restoring.json"
"""A restore was begun here and is not whole: nothing is deployed until it is."""
UPGRADING = "upgrading.json"
"""An upgrade was begun here and is not done: nothing is deployed until it is, or is rolled back."""
KAFKA_LEFT = "kafka-left.json"
"""The ids of the topics of the Kafka that the restored lake was filled from: another one's are no loss by surprise."""
