"""Millrace as a service of this machine: what `millrace install` and `uninstall` do, planned before it is done."""
