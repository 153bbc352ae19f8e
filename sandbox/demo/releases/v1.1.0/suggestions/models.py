from django.db import models
from django.db.models import Func, Q, Value

from places.models import Place


class Suggestion(models.Model):
    class Status(models.TextChoices):
        NEW = "new", "nouvelle"
        ACCEPTED = "accepted", "acceptée"
        REFUSED = "refused", "refusée"

    # A serial column: the database numbers it.
    reference = models.IntegerField(
        unique=True,
        editable=False,
        db_default=Func(Value("suggestions_suggestion_reference_seq"), function="nextval"),
    )
    author = models.CharField("votre nom et courriel", max_length=360)
    place = models.ForeignKey(Place, on_delete=models.PROTECT, related_name="suggestions")
    message = models.TextField("votre message")
    status = models.CharField(max_length=10, choices=Status, default=Status.NEW)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("-created_at",)
        constraints = (
            models.CheckConstraint(
                condition=Q(status__in=("new", "accepted", "refused")), name="suggestion_status"
            ),
            models.UniqueConstraint(fields=("place",), name="one_suggestion_a_place"),
        )
        indexes = (
            models.Index(fields=("created_at",), condition=Q(status="new"), name="suggestion_to_read"),
        )

    def __str__(self) -> str:
        return f"{self.reference}, {self.author}"
