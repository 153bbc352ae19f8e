"""Scalingo: the platform that applications and their databases run on."""
