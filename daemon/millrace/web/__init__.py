"""The HTTP interface: API, health, authentication."""
