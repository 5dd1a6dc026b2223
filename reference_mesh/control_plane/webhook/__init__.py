"""Admission webhooks: the protocol, and serving it over TLS. The injector and validator use it."""
