from django.contrib.postgres.indexes import GinIndex, OpClass
from django.db import models
from django.db.models import Q
from django.db.models.functions import Upper


class Language(models.Model):
    code = models.CharField(primary_key=True, max_length=12)

    def __str__(self) -> str:
        return self.code


class Country(models.Model):
    code = models.CharField(primary_key=True, max_length=2)
    name = models.CharField(max_length=100, unique=True)
    continent = models.CharField(max_length=2)
    population = models.BigIntegerField()
    languages = models.ManyToManyField(Language, related_name="countries", blank=True)
    neighbours = models.ManyToManyField("self", blank=True)

    class Meta:
        ordering = ("name",)
        verbose_name_plural = "countries"
        constraints = (models.CheckConstraint(condition=Q(population__gte=0), name="country_population"),)

    def __str__(self) -> str:
        return self.name


class Place(models.Model):
    geoname = models.IntegerField(unique=True)
    name = models.CharField(max_length=200)
    country = models.ForeignKey(Country, on_delete=models.PROTECT, related_name="places")
    position = models.CharField(max_length=40)  # "latitude, longitude"
    population = models.BigIntegerField()
    timezone = models.CharField(max_length=60)
    capital = models.BooleanField(default=False)

    class Meta:
        ordering = ("-population", "name")
        constraints = (
            models.UniqueConstraint(fields=("country",), condition=Q(capital=True), name="one_capital_a_country"),
        )
        indexes = (
            models.Index(fields=("country", "-population"), name="place_by_country"),
            models.Index(Upper("name"), name="place_upper_name"),
            models.Index(fields=("-population",), condition=Q(population__gte=1_000_000), name="place_large"),
            GinIndex(OpClass(Upper("name"), name="gin_trgm_ops"), name="place_name_trigrams"),
        )

    def __str__(self) -> str:
        return f"{self.name} ({self.country_id})"


class AlternateName(models.Model):
    place = models.ForeignKey(Place, on_delete=models.CASCADE, related_name="alternate_names")
    name = models.CharField(max_length=200)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("place", "name"), name="alternate_name_once"),)
        indexes = (GinIndex(OpClass(Upper("name"), name="gin_trgm_ops"), name="alternate_name_trigrams"),)

    def __str__(self) -> str:
        return self.name


class CountryTotal(models.Model):
    """The view places_country_total."""

    country = models.OneToOneField(Country, on_delete=models.DO_NOTHING, primary_key=True)
    places = models.IntegerField()
    inhabitants = models.BigIntegerField()

    class Meta:
        managed = False
        db_table = "places_country_total"


class Ranking(models.Model):
    """The materialized view places_ranking: each place among those of its country. The worker refreshes it."""

    place = models.OneToOneField(
        Place, on_delete=models.DO_NOTHING, primary_key=True, related_name="ranking"
    )
    rank = models.IntegerField()
    share = models.DecimalField(max_digits=5, decimal_places=1)

    class Meta:
        managed = False
        db_table = "places_ranking"


class Heartbeat(models.Model):
    """When each worker last did its round."""

    id = models.AutoField(primary_key=True)  # a serial column
    worker = models.CharField(max_length=60, unique=True)
    release = models.CharField(max_length=60)
    beaten_at = models.DateTimeField(auto_now=True)
    rounds = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return self.worker
