"""The demonstration application: releases as overlays of files, and the repository made of them."""
