import os

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = "Create or update the account that checks the admin's pages; it may look and change nothing."

    def handle(self, *args, **options) -> None:
        name, password = os.environ.get("CHECK_ACCOUNT"), os.environ.get("CHECK_PASSWORD")
        if not name or not password:
            self.stdout.write("No check account: CHECK_ACCOUNT and CHECK_PASSWORD are not both set")
            return
        account, created = get_user_model().objects.get_or_create(username=name)
        account.is_staff = account.is_active = True
        if not account.check_password(password):
            account.set_password(password)
        account.save()
        account.user_permissions.set(
            Permission.objects.filter(
                codename__startswith="view_", content_type__app_label__in=("places", "suggestions")
            )
        )
        self.stdout.write(f"Check account {name} {'created' if created else 'up to date'}")
