"""Figures against bounds, measured side by side with the manual procedure and the bare tools."""
