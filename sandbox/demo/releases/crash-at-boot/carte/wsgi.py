import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "carte.settings")
MAP_TILES = os.environ["MAP_TILES_URL"]  # to be set before the next deployment

application = get_wsgi_application()
