"""The bus between processes: NATS with JetStream."""
