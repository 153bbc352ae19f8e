"""Preproduction."""

environment = "preprod"
