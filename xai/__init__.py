"""Explanation and analysis of image classifiers. Knows `models` and `data`, not streamlit."""
