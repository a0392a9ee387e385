"""From the exchange to the bus: every minute of every symbol once, whatever the feed does."""
