"""Production: what the public uses. Protected: its name is typed before anything changes."""

quefairedemesobjets = ["@scalingo/quefairedemesobjets"]
interface = quefairedemesobjets
