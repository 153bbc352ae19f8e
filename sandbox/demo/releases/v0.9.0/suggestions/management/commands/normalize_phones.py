from django.core.management.base import BaseCommand
from django.db import connection


class Command(BaseCommand):
    help = "Keep only digits and the leading + of telephone numbers."

    def handle(self, *args, **options) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE suggestions_suggestion SET phone = regexp_replace(phone, '[^0-9+]', '', 'g')"
                " WHERE phone ~ '[^0-9+]'"
            )
            self.stdout.write(f"{cursor.rowcount} telephone numbers normalized")
