"""The role that answers from outside: REST, WebSocket, Prometheus, and the page."""
