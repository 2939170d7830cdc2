"""Settings: where config.toml is found, what it may say, and what it says."""
