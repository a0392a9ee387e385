"""From the bus to the store; never on the way of an alert."""
