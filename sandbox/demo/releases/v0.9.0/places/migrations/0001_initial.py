import django.db.models.deletion
from django.db import migrations, models
from django.db.models.functions import Upper

VIEW = """
CREATE VIEW places_country_total AS
SELECT country_id, count(*)::integer AS places, sum(population)::bigint AS inhabitants
FROM places_place
GROUP BY country_id
"""

HEARTBEAT = """
CREATE TABLE places_heartbeat (
    id serial PRIMARY KEY,
    worker varchar(60) NOT NULL UNIQUE,
    release varchar(60) NOT NULL,
    beaten_at timestamptz NOT NULL,
    rounds bigint NOT NULL
)
"""


class Migration(migrations.Migration):
    initial = True
    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Language",
            fields=[("code", models.CharField(max_length=12, primary_key=True, serialize=False))],
        ),
        migrations.CreateModel(
            name="Country",
            fields=[
                ("code", models.CharField(max_length=2, primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=100, unique=True)),
                ("continent", models.CharField(max_length=2)),
                ("population", models.BigIntegerField()),
                (
                    "languages",
                    models.ManyToManyField(blank=True, related_name="countries", to="places.language"),
                ),
                ("neighbours", models.ManyToManyField(blank=True, to="places.country")),
            ],
            options={
                "ordering": ("name",),
                "verbose_name_plural": "countries",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("population__gte", 0)), name="country_population"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Place",
            fields=[
                (
                    "id",
                    models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
                ),
                ("geoname", models.IntegerField(unique=True)),
                ("name", models.CharField(max_length=200)),
                ("latitude", models.FloatField()),
                ("longitude", models.FloatField()),
                ("population", models.BigIntegerField()),
                ("timezone", models.CharField(max_length=60)),
                ("capital", models.BooleanField(default=False)),
                (
                    "country",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="places", to="places.country"
                    ),
                ),
            ],
            options={
                "ordering": ("-population", "name"),
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("latitude__range", (-90, 90)), ("longitude__range", (-180, 180))
                        ),
                        name="place_on_earth",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("capital", True)), fields=("country",), name="one_capital_a_country"
                    ),
                ],
                "indexes": [
                    models.Index(fields=["country", "-population"], name="place_by_country"),
                    models.Index(Upper("name"), name="place_upper_name"),
                ],
            },
        ),
        migrations.CreateModel(
            name="AlternateName",
            fields=[
                (
                    "id",
                    models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
                ),
                ("name", models.CharField(max_length=200)),
                (
                    "place",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="alternate_names",
                        to="places.place",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("place", "name"), name="alternate_name_once")
                ],
            },
        ),
        migrations.RunSQL(VIEW, "DROP VIEW places_country_total"),
        migrations.CreateModel(
            name="CountryTotal",
            fields=[
                (
                    "country",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        primary_key=True,
                        serialize=False,
                        to="places.country",
                    ),
                ),
                ("places", models.IntegerField()),
                ("inhabitants", models.BigIntegerField()),
            ],
            options={"db_table": "places_country_total", "managed": False},
        ),
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(HEARTBEAT, "DROP TABLE places_heartbeat")],
            state_operations=[
                migrations.CreateModel(
                    name="Heartbeat",
                    fields=[
                        ("id", models.AutoField(primary_key=True, serialize=False)),
                        ("worker", models.CharField(max_length=60, unique=True)),
                        ("release", models.CharField(max_length=60)),
                        ("beaten_at", models.DateTimeField(auto_now=True)),
                        ("rounds", models.BigIntegerField(default=0)),
                    ],
                )
            ],
        ),
    ]
