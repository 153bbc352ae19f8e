"""The platforms on one machine: real git over SSH, PostgreSQL and HTTP. Shares no code with `tasks`."""
