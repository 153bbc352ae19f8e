"""Git: a mirror to read, pinned host keys, a guarded push that can be stopped, and what it would change."""
