"""The daemon: wires the rooms, starts and stops them in order."""
