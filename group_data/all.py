"""What holds for every application that this team runs."""

# The branch that Scalingo deploys; the database's variable that its PostgreSQL add-on sets.
branch = "master"
database_variable = "SCALINGO_POSTGRESQL_URL"
database_schema = "public"
