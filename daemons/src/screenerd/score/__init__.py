"""The role that scores alerts: what the price did after each, kept for the scorecard."""
