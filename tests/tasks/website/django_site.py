"""A real Django site for the tests: a search, a form with CSRF, an administration, a version.

`python django_site.py FOLDER` prints its port. While the file FOLDER/fault exists, every answer has the
status in it; `503x2` in it means only the next two.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import django
from django.conf import settings

FOLDER = Path(sys.argv[1])

settings.configure(
    SECRET_KEY="only for the tests",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF="__main__",
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": FOLDER / "db.sqlite3"}},
    INSTALLED_APPS=[
        "django.contrib.admin",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.messages",
        "django.contrib.sessions",
    ],
    MIDDLEWARE=[
        "__main__.faults",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                ]
            },
        }
    ],
)
django.setup()

from django.contrib import admin  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.http import HttpResponse  # noqa: E402
from django.shortcuts import redirect  # noqa: E402
from django.template import engines  # noqa: E402
from django.urls import path  # noqa: E402

FORM = """<form method="get" action="/search/"><input name="q"></form>
<form method="post"><textarea name="comment">
l&#x27;avis</textarea>{% csrf_token %}<input type="hidden" name="kind" value="k&eacute;pt">
<select name="size"><option value="">-</option><option value="m" selected>M</option></select>
<input type="checkbox" name="news"> <input name="mail" type="email">
<input type="submit" name="go" value="Go"></form>"""


def faults(get_response: Any) -> Any:
    def answer(request: Any) -> Any:
        fault = FOLDER / "fault"
        if fault.exists():
            status, _, left = fault.read_text().partition("x")
            if left == "1":
                fault.unlink()
            elif left:
                fault.write_text(f"{status}x{int(left) - 1}")
            return HttpResponse("broken", status=int(status))
        return get_response(request)

    return answer


def home(_: Any) -> HttpResponse:
    return HttpResponse(
        "<h1>Que faire d&#x27;un objet&nbsp;?</h1> release 0123456789abcdef0123456789abcdef01234567"
    )


def search(request: Any) -> HttpResponse:
    found = "lave-linge" if request.GET.get("q") == "lave linge" else "nothing"
    return HttpResponse(f"<li>{found}</li>")


def form(request: Any) -> HttpResponse:
    if request.method == "POST" and "@" in request.POST["mail"]:
        keys = sorted(key for key in request.POST if key != "csrfmiddlewaretoken")
        return HttpResponse(
            f"Thank you {request.POST['kind']} {request.POST['size']} {request.POST['comment']} {keys}"
        )
    return HttpResponse(engines["django"].from_string(FORM).render({}, request))


urlpatterns = [
    path("", home),
    path("search/", search),
    path("form/", form),
    path("circle/", lambda _: redirect("/circle/")),
    path("moved/", lambda _: redirect("/")),
    path(
        "foreign/",
        lambda _: HttpResponse(
            '<form method=post action="http://127.0.0.2:9/"><input name=u><input name=p type=password></form>'
        ),
    ),
    path("admin/", admin.site.urls),
]

if __name__ == "__main__":
    from django.core.wsgi import get_wsgi_application
    from waitress import create_server

    call_command("migrate", verbosity=0)
    User.objects.create_superuser("checker", password="a password for the tests")
    server = create_server(get_wsgi_application(), host="127.0.0.1", port=0)
    print(server.effective_port, flush=True)
    server.run()
