"""Production."""

environment = "prod"
protected = True
rehearse_in = "preprod"
rehearsal_hours = 24
data_administrator = "Christian"

# Where the public finds it; preproduction answers at the platform's own address.
address = "https://quefairedemesdechets.fr"

# Its backups are tried every week beside preproduction's data: `deploys/drill.py -y`.
drill = {
    "on": "quefairedemesobjets-preprod",
    "checks": {"il y a des acteurs": "select exists (select from qfdmo_acteur)"},
}
