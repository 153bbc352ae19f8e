from django.core.cache import cache

from places.models import CountryTotal, Place

KEPT = 30  # seconds


def figures(request):
    """How much there is on the map, for the foot of every page."""
    return {"figures": cache.get_or_set("figures", count, KEPT)}


def count() -> dict:
    """Only what the map can show."""
    located = Place.objects.exclude(latitude=None).exclude(longitude=None)
    return {"places": located.count(), "countries": CountryTotal.objects.count()}
