"""PostgreSQL: archives of pg_dump, and restoring one beside a running application."""
