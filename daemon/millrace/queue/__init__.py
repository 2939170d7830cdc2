"""The one door in, Huey over the ledger, pools and upkeep."""
