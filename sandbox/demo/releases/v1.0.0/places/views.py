from django.db.models import Q
from django.shortcuts import render

from places.models import Place

SHOWN = 50


def search(request):
    """The map, and the places whose name, in whatever language, holds what is looked for."""
    query = request.GET.get("q", "").strip()
    places = Place.objects.select_related("country", "ranking")
    if query:
        places = places.filter(
            Q(name__icontains=query) | Q(alternate_names__name__icontains=query)
        ).distinct()
    places = list(places[:SHOWN])
    return render(request, "places/carte.html", {"query": query, "places": places, "points": points(places)})


def points(places: list[Place]) -> list[dict]:
    """Where each place is on a map of 360 by 180 units, north up."""
    return [
        {"x": round(place.longitude + 180, 2), "y": round(90 - place.latitude, 2), "name": place.name}
        for place in places
    ]
