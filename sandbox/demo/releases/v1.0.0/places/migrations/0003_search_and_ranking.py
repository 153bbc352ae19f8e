from django.contrib.postgres.indexes import GinIndex, OpClass
from django.contrib.postgres.operations import TrigramExtension
from django.db import migrations, models
from django.db.models.functions import Upper

RANKING = """
CREATE MATERIALIZED VIEW places_ranking AS
SELECT place.id AS place_id,
       rank() OVER (PARTITION BY place.country_id ORDER BY place.population DESC, place.id)::integer AS rank,
       round(100.0 * place.population / nullif(total.inhabitants, 0), 1) AS share
FROM places_place AS place
JOIN places_country_total AS total ON total.country_id = place.country_id;
CREATE UNIQUE INDEX places_ranking_place ON places_ranking (place_id);
"""


class Migration(migrations.Migration):
    dependencies = [("places", "0002_load_geonames")]

    operations = [
        TrigramExtension(),
        migrations.AddIndex(
            "place", GinIndex(OpClass(Upper("name"), name="gin_trgm_ops"), name="place_name_trigrams")
        ),
        migrations.AddIndex(
            "alternatename",
            GinIndex(OpClass(Upper("name"), name="gin_trgm_ops"), name="alternate_name_trigrams"),
        ),
        migrations.AddIndex(
            "place",
            models.Index(
                fields=["-population"], condition=models.Q(population__gte=1_000_000), name="place_large"
            ),
        ),
        migrations.RunSQL(RANKING, "DROP MATERIALIZED VIEW places_ranking"),
        migrations.CreateModel(
            name="Ranking",
            fields=[
                (
                    "place",
                    models.OneToOneField(
                        on_delete=models.deletion.DO_NOTHING,
                        primary_key=True,
                        related_name="ranking",
                        serialize=False,
                        to="places.place",
                    ),
                ),
                ("rank", models.IntegerField()),
                ("share", models.DecimalField(decimal_places=1, max_digits=5)),
            ],
            options={"db_table": "places_ranking", "managed": False},
        ),
    ]
