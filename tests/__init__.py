"""Tests; as a package they import one another and the repository's modules wherever pytest is started."""
