"""The platforms on one machine: real git over SSH, real PostgreSQL, real HTTP. Shares no code with `tasks`."""
