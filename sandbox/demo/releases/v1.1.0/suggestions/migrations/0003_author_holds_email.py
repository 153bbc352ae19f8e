from django.db import migrations, models

MERGE = """
UPDATE suggestions_suggestion SET author = author || ' <' || email || '>' WHERE email <> '';
"""

# Several people wrote about the same place: the first suggestion says it all.
DEDUPLICATE = """
DELETE FROM suggestions_suggestion AS later USING suggestions_suggestion AS first
WHERE later.place_id = first.place_id AND later.id > first.id;
"""


class Migration(migrations.Migration):
    atomic = False
    dependencies = [
        ("suggestions", "0002_email_replaces_phone"),
        ("places", "0004_lighter_places"),
    ]

    operations = [
        migrations.AlterField(
            "suggestion", "author", models.CharField("votre nom et courriel", max_length=360)
        ),
        migrations.RunSQL(MERGE),
        migrations.RemoveConstraint("suggestion", "suggestion_email"),
        migrations.RemoveField("suggestion", "email"),
        migrations.RunSQL(DEDUPLICATE),
        migrations.AddConstraint(
            "suggestion", models.UniqueConstraint(fields=("place",), name="one_suggestion_a_place")
        ),
    ]
