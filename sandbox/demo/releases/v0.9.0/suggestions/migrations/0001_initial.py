import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    dependencies = [("places", "0001_initial")]

    operations = [
        migrations.CreateModel(
            name="Suggestion",
            fields=[
                (
                    "id",
                    models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
                ),
                ("author", models.CharField(max_length=100, verbose_name="votre nom")),
                ("phone", models.CharField(blank=True, max_length=30, verbose_name="votre téléphone")),
                ("message", models.TextField(verbose_name="votre message")),
                (
                    "status",
                    models.CharField(
                        choices=[("new", "nouvelle"), ("accepted", "acceptée"), ("refused", "refusée")],
                        default="new",
                        max_length=10,
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "place",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="suggestions",
                        to="places.place",
                    ),
                ),
            ],
            options={
                "ordering": ("-created_at",),
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("status__in", ("new", "accepted", "refused"))),
                        name="suggestion_status",
                    )
                ],
            },
        ),
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(
                    "ALTER TABLE suggestions_suggestion ADD COLUMN reference serial UNIQUE",
                    "ALTER TABLE suggestions_suggestion DROP COLUMN reference",
                )
            ],
            state_operations=[
                migrations.AddField(
                    model_name="suggestion",
                    name="reference",
                    field=models.IntegerField(
                        db_default=models.Func(
                            models.Value("suggestions_suggestion_reference_seq"), function="nextval"
                        ),
                        editable=False,
                        unique=True,
                    ),
                )
            ],
        ),
    ]
