from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("suggestions", "0001_initial")]

    operations = [
        migrations.AddField(
            "suggestion", "email", models.EmailField("votre courriel", blank=True, default="", max_length=254)
        ),
        migrations.RemoveField("suggestion", "phone"),
        migrations.AddConstraint(
            "suggestion",
            models.CheckConstraint(
                condition=models.Q(email="") | models.Q(email__contains="@"), name="suggestion_email"
            ),
        ),
        migrations.AddIndex(
            "suggestion",
            models.Index(
                fields=["created_at"], condition=models.Q(status="new"), name="suggestion_to_read"
            ),
        ),
    ]
