"""What is hidden on screen, and what is not: a sentence without its ordinary words helps nobody at night."""

from __future__ import annotations

import pytest

from tasks.core.likely_secrets import could_be_secret, passwords_in
from tasks.core.secrets import Secret, redact
from tasks.scalingo.models import Variable

HIDDEN = [
    ("DJANGO_SECRET", "an-ordinary-word"),
    ("SECRET_KEY", "django-insecure"),
    ("STRIPE_APIKEY", "whatever"),
    ("api_key", "whatever"),
    ("GITHUB_TOKEN", "whatever"),
    ("CHECK_PASSWORD", "controle"),
    ("DB_PASSWD", "summer"),
    ("SMTP_PASS", "summer"),
    ("ADMIN_PWD", "summer"),
    ("AWS_CREDENTIALS", "summer"),
    ("SENTRY_DSN", "https://sentry.example.org/4"),
    ("PRIVATE_PEM", "summer"),
    ("BASIC_AUTH", "summer:winter"),
    ("MATTERMOST_WEBHOOK", "https://chat.example.org/hooks/summer"),
    ("HASH_SALT", "winter"),
    ("ADMIN_MDP", "soleil"),
    ("DATABASE_URL", "postgres://demo:winter@db.example.org:5432/demo"),
    ("TRACKER", "https://0a1b2c3d4e5f@errors.example.org/4"),
    ("NOTIFY", "https://chat.example.org/hooks/9hxk3mz7ot8qf4ruwd1ee5ypch"),
    ("HOOK", "https://hooks.example.org/services/T01AB2C3D/B04EF5G6H/x"),
    ("S3_ACCESS", "SCW1Z9QK3MA7T5XW8B2C"),
    ("SOMETHING", "d41d8cd98f00b204e9800998ecf8427e"),
    ("SOMETHING", "7b0a9d34-5c1e-4f0d-9d8e-2a6f1c3b5e77"),
    ("SOMETHING", "xKjQpLmZvBnWrTyU"),
    ("SOMETHING", "qzxkvbnmwrtp"),
    ("SOMETHING", "P@ssw0rd!"),
    ("SOMETHING", "summer$winter"),
    ("SOMETHING", '{"host": "db", "id": "9f8e7d6c5b4a39281706f5e4"}'),
    ("SOMETHING", "-----BEGIN EC SOMETHING-----\nMHcCAQEEIIr8v0aXJzYk1qkQdF\n-----END EC SOMETHING-----"),
]

SHOWN = [
    ("ENVIRONMENT", "production"),
    ("CHECK_ACCOUNT", "controle"),
    ("CONTACT", "equipe-donnees@beta.gouv.fr"),
    ("DEBUG", "False"),
    ("WEB_CONCURRENCY", "1000000"),
    ("DJANGO_SETTINGS_MODULE", "config.settings.production"),
    ("BACKEND", "django.contrib.gis.db.backends.postgis"),
    ("STORAGE", "whitenoise.storage.CompressedManifestStaticFilesStorage"),
    ("ALLOWED_HOSTS", "quefairedemesdechets.fr,.osc-fr1.scalingo.io, localhost"),
    ("BASE_URL", "https://quefairedemesobjets.ademe.fr/carte?limit=25"),
    ("DB_HOST", "sandbox-demo-4553.postgresql.sandbox-dbs.test:30412"),
    ("REDIS_URL", "redis://cache.example.org:6379/0"),
    ("PYTHON", "python-3.11.9"),
    ("TIME_ZONE", "Europe/Paris"),
    ("REGION", "eu-west-3"),
    ("SINCE", "2026-01-31T04:01:12Z"),
    ("UPLOAD_LIMIT", "512MB"),
    ("TITLE", "Que faire de mes déchets ?"),
    ("DATABASE_URL", "$SCALINGO_POSTGRESQL_URL"),
    ("EMPTY", ""),
]


@pytest.mark.parametrize(("name", "value"), HIDDEN)
def test_what_could_be_a_secret_is_hidden(name: str, value: str) -> None:
    assert could_be_secret(name, value)


@pytest.mark.parametrize(("name", "value"), SHOWN)
def test_what_reads_as_words_is_shown(name: str, value: str) -> None:
    assert not could_be_secret(name, value)


def test_every_address_of_a_list_gives_its_password() -> None:
    assert set(passwords_in("redis://:one,two@h1:1/0,redis://:three@h2:2/0 amqp://u:four@h")) == {
        "one,two",
        "three",
        "four",
    }


def test_an_ordinary_value_of_a_variable_stays_in_the_sentences() -> None:
    variable = Variable.model_validate({"name": "CHECK_ACCOUNT", "value": "ordinaire"})
    assert redact("account ordinaire: password changed") == "account ordinaire: password changed"
    assert "ordinaire" not in f"{variable!r} {variable.value} {variable.model_dump()}", "it is still a Secret"


def test_a_secret_value_of_a_variable_leaves_the_sentences() -> None:
    Variable.model_validate({"name": "CHECK_PASSWORD", "value": "motordinaire"})
    assert redact("signing in with motordinaire") == "signing in with [secret]"


def test_the_password_of_an_address_is_hidden_without_the_address() -> None:
    Secret("DATABASE_URL", "postgres://demo:gr%40nd-secret@db.example.org/demo")
    assert redact("tried gr%40nd-secret and gr@nd-secret as demo") == "tried [secret] and [secret] as demo"
    assert redact("postgres://demo:gr%40nd-secret@db.example.org/demo") == "[secret]"
