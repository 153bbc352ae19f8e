"""The application as people use it: declared checks of its public pages."""
