"""How roles tell each other things: a port, and the bus inside of one process."""
