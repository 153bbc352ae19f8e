"""The sandbox's preproduction."""

environment = "sandbox_preprod"
sandbox = True
