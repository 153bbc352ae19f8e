"""A Scalingo-like platform on one machine: git over SSH, builds, containers, router, one-offs."""
