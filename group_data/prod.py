"""Production."""

environment = "prod"
protected = True
rehearse_in = "preprod"
rehearsal_hours = 24
data_administrator = "Christian"

# Where the public finds it; preproduction answers at the platform's own address.
address = "https://quefairedemesdechets.fr"
