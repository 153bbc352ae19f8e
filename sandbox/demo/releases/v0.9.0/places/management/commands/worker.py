import os
import signal
import threading

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import OperationalError, ProgrammingError, connection
from django.db.models import F

from places.models import Heartbeat


class Command(BaseCommand):
    help = "Do the work behind the pages, round after round, until SIGTERM."

    def handle(self, *args, **options) -> None:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        worker = os.environ.get("CONTAINER", "worker-1")
        interval = float(os.environ.get("WORKER_INTERVAL", "5"))
        self.stdout.write(f"Working every {interval:g} s")
        while not stop.is_set():
            try:
                self.round(worker)
            except (OperationalError, ProgrammingError) as error:  # booted before the postdeploy command
                self.stderr.write(f"Round left out: {error}")
            finally:
                connection.close()  # the database may be elsewhere at the next round
            stop.wait(interval)
        self.stdout.write("Stopped")

    def round(self, worker: str) -> None:
        Heartbeat.objects.update_or_create(
            worker=worker,
            defaults={"release": settings.RELEASE, "rounds": F("rounds") + 1},
            create_defaults={"release": settings.RELEASE, "rounds": 1},
        )
