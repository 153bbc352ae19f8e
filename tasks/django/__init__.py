"""Django seen from outside: the migrations of a release, read from its files and never run."""
