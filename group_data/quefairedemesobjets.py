"""The application "Que faire de mes objets": where its code and its pages are."""

repository = "incubateur-ademe/quefairedemesobjets"
scalingo_region = "osc-fr1"

# Of ssh.osc-fr1.scalingo.com, as Scalingo publishes them (doc.scalingo.com): Ed25519, then RSA.
ssh_fingerprints = (
    "SHA256:vMMyB6vYf+U68JFAcK/vAL6g4DOKGmT/LMwLhzI9+3E",
    "SHA256:f7y5p9OlI+UCuQoXctVNVj3pVkehTgUBWZz/0PtkGR8",
)

# Sessions and cached pages of a backup's time are of no use to anybody.
empty_tables = ("django_session",)

website = {
    "checks": [
        {"kind": "page", "path": "/carte"},
        {"kind": "page", "path": "/formulaire"},
        {"kind": "admin", "path": "/admin/"},
    ],
}
count_command = "python manage.py shell -c 'from qfdmo.models import Acteur; print(Acteur.objects.count())'"
