"""Preproduction: follows the branch main; where every rollback is rehearsed first."""

quefairedemesobjets = ["@scalingo/quefairedemesobjets-preprod"]
interface = quefairedemesobjets
