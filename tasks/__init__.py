"""How it is done: one package a system, each with the same rooms. Knows no app, bucket or region by name."""
