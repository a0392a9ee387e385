"""The table and the alerts in a terminal. A client of the service like any other: HTTP only."""
