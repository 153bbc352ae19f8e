"""The sandbox's protected environment."""

environment = "sandbox"
sandbox = True
protected = True
rehearse_in = "sandbox_preprod"
rehearsal_hours = 24
data_administrator = "Christian"

# Where production's backups are tried every week, and what must be true of them.
drill = {
    "on": "sandbox-demo-preprod",
    "newest": {"places_heartbeat.beaten_at": 24},
    "checks": {
        "Lyon is found": "select exists (select from places_place where name = 'Lyon')",
        "every place has a country": "select bool_and(country_id is not null) from places_place",
    },
}
