from django import forms
from django.db import transaction

from places.models import Place
from suggestions.models import Suggestion


class SuggestionForm(forms.ModelForm):
    place = forms.CharField(label="La ville", max_length=200)

    class Meta:
        model = Suggestion
        fields = ("author", "email", "message")

    field_order = ("author", "email", "place", "message")

    def clean_place(self) -> Place:
        name = self.cleaned_data["place"].strip()
        place = Place.objects.filter(name__iexact=name).first()
        if place is None:
            raise forms.ValidationError(f"La ville « {name} » n'est pas sur la carte.")
        return place

    def save_numbered(self) -> Suggestion:
        """Store it, and read back the number that the database gave it."""
        suggestion = self.save(commit=False)
        suggestion.place = self.cleaned_data["place"]
        with transaction.atomic():
            suggestion.save()
            suggestion.refresh_from_db(fields=("reference",))
        return suggestion
