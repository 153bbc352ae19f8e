from django.conf import settings
from django.shortcuts import redirect, render


def home(request):
    return redirect("carte")


def server_error(request):
    """The page of an error 500: no context processor, since one of them may be what failed."""
    return render(None, "500.html", {"release": settings.RELEASE}, status=500)
