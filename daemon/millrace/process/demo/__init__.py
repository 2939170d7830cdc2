"""What `millrace demo` plays on a scratch site: a real daemon, a real pipeline, a pretended outside world."""
