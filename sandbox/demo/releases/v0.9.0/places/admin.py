from django.contrib import admin

from places.models import AlternateName, Country, Heartbeat, Language, Place


class AlternateNameInline(admin.TabularInline):
    model = AlternateName
    extra = 0


@admin.register(Place)
class PlaceAdmin(admin.ModelAdmin):
    list_display = ("name", "country", "population", "capital")
    list_filter = ("capital", "country__continent")
    search_fields = ("name", "alternate_names__name")
    inlines = (AlternateNameInline,)


@admin.register(Country)
class CountryAdmin(admin.ModelAdmin):
    list_display = ("name", "code", "continent", "population")
    search_fields = ("name", "code")
    filter_horizontal = ("languages", "neighbours")


@admin.register(Heartbeat)
class HeartbeatAdmin(admin.ModelAdmin):
    list_display = ("worker", "release", "beaten_at", "rounds")


admin.site.register(Language)
