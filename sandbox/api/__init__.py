"""The platform's HTTP APIs on one loopback port: accounts and regions, the regional API, the database API."""
