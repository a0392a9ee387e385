"""From candles on the bus to alerts on the bus, by the library's engine."""
