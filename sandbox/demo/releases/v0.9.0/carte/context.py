from django.conf import settings


def release(request):
    """The running release, for the <meta name="release"> of every page."""
    return {"release": settings.RELEASE}
