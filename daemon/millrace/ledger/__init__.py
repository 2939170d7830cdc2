"""What happened: the only room that knows SQL."""
