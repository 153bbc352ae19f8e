"""The sandbox's protected environment."""

environment = "sandbox"
sandbox = True
protected = True
rehearse_in = "sandbox_preprod"
rehearsal_hours = 24
data_administrator = "Christian"
