"""PostgreSQL as the platform runs it: one real server, a database and roles for each add-on, backups, quotas."""
