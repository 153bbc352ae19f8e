"""Mattermost: the team channel that is told what a run does."""
