"""The sandbox's demo application: where its code is, and what its pages must show."""

from tasks.website.checks import Admin, Form, Page, Search, Version, Website

repository = "sandbox/demo"
scalingo_region = "sandbox"

# Sessions and cached pages of a backup's time are of no use to anybody.
empty_tables = ("django_session", "django_cache")

website = Website(
    checks=(
        Search(path="/carte", parameter="q", term="Lyon", pattern="<strong>Lyon"),  # the box repeats the term
        Form(
            path="/formulaire",
            fields={
                "author": "Vérification",
                "email": "verification@example.org",
                "place": "Lyon",
                "message": "Envoyé par la vérification après un changement ; à ignorer.",
            },
            pattern='class="success"',
        ),
        Admin(path="/admin/places/place/?q=Lyon", pattern=">Lyon"),
        Page(path="/"),
        Version(path="/carte", regex=r'name="release" content="([^"]+)"'),
    ),
    deadline=30,
)
check_account = ("CHECK_ACCOUNT", "CHECK_PASSWORD")
