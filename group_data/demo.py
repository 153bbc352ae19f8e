"""The sandbox's demo application: where its code is, and what its pages must show."""

repository = "sandbox/demo"
scalingo_region = "sandbox"

# Sessions and cached pages of a backup's time are of no use to anybody.
empty_tables = ("django_session", "django_cache")

website = {
    "checks": [
        # The box repeats the term: what is found stands between these.
        {
            "kind": "search",
            "path": "/carte",
            "parameter": "q",
            "term": "Lyon",
            "pattern": "<strong>Lyon",
        },
        {
            "kind": "form",
            "path": "/formulaire",
            "fields": {
                "author": "Vérification",
                "email": "verification@example.org",
                "place": "Lyon",
                "message": "Envoyé par la vérification après un changement ; à ignorer.",
            },
            "pattern": 'class="success"',
        },
        {"kind": "admin", "path": "/admin/places/place/?q=Lyon", "pattern": ">Lyon"},
        {"kind": "page", "path": "/"},
        {"kind": "version", "path": "/carte", "regex": r'name="release" content="([^"]+)"'},
    ],
    "deadline": 30,
}
check_account = ("CHECK_ACCOUNT", "CHECK_PASSWORD")
