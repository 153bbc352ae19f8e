from django.db import migrations, models

SMALL = 500_000

MERGE = """
UPDATE places_place SET position = round(latitude::numeric, 1) || ', ' || round(longitude::numeric, 1);
"""

# The map is slow: keep the large cities.
REMOVE = f"""
DELETE FROM suggestions_suggestion WHERE place_id IN (SELECT id FROM places_place WHERE population < {SMALL});
DELETE FROM places_alternatename WHERE place_id IN (SELECT id FROM places_place WHERE population < {SMALL});
DELETE FROM places_place WHERE population < {SMALL};
REFRESH MATERIALIZED VIEW places_ranking;
"""


class Migration(migrations.Migration):
    # Postponed foreign keys are checked at the end of a transaction: each statement gets its own.
    atomic = False
    dependencies = [
        ("places", "0003_search_and_ranking"),
        ("suggestions", "0002_email_replaces_phone"),
    ]

    operations = [
        migrations.AddField("place", "position", models.CharField(default="", max_length=40), preserve_default=False),
        migrations.RunSQL(MERGE),
        migrations.RemoveConstraint("place", "place_on_earth"),
        migrations.RemoveField("place", "latitude"),
        migrations.RemoveField("place", "longitude"),
        migrations.RunSQL(REMOVE),
    ]
