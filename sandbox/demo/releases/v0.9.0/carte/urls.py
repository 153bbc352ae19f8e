from django.conf import settings
from django.contrib import admin
from django.urls import path, re_path
from django.views.generic import RedirectView
from django.views.static import serve

from carte.views import home
from places.views import search
from suggestions.views import suggest, thanks

urlpatterns = [
    path("", home),
    path("carte", search, name="carte"),
    path("formulaire", suggest, name="formulaire"),
    path("formulaire/merci/<int:reference>", thanks, name="merci"),
    path("admin", RedirectView.as_view(url="/admin/")),
    path("admin/", admin.site.urls),
    re_path(r"^static/(?P<path>.*)$", serve, {"document_root": settings.STATIC_ROOT}),
]

handler500 = "carte.views.server_error"
