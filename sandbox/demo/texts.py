"""What visitors write through the form when an incident is staged."""

from __future__ import annotations

from typing import Final

SUGGESTIONS: Final = (
    {
        "author": "Agnès Caron",
        "email": "agnes.caron@example.org",
        "place": "Lyon",
        "message": "Le point est sur la rive gauche, la mairie est sur l'autre.",
    },
    {
        "author": "Tom Lefebvre",
        "email": "tom.lefebvre@example.org",
        "place": "Brest",
        "message": "La population date de 2019, l'Insee en a une plus récente.",
    },
    {
        "author": "Mina Okafor",
        "email": "",
        "place": "Lagos",
        "message": "Please add the Yoruba name of the city.",
    },
    {
        "author": "Agnès Caron",
        "email": "agnes.caron@example.org",
        "place": "Lyon",
        "message": "J'ai vérifié sur place : c'est bien la rive droite.",
    },
    {
        "author": "Joaquín Ibarra",
        "email": "joaquin.ibarra@example.org",
        "place": "Bilbao",
        "message": "Falta el nombre en euskera: Bilbo.",
    },
)
"""Fields of the form, without its token. Two are about one place: the faulty release keeps one of them."""
