from django.contrib import admin

from suggestions.models import Suggestion


@admin.register(Suggestion)
class SuggestionAdmin(admin.ModelAdmin):
    list_display = ("reference", "author", "email", "place", "status", "created_at")
    list_filter = ("status",)
    search_fields = ("author", "email", "message", "place__name")
    raw_id_fields = ("place",)
    readonly_fields = ("reference", "created_at")
