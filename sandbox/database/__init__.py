"""PostgreSQL as the platform runs it: one real server, a database and roles an add-on, backups, quotas."""
