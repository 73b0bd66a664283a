"""Everything that is Streamlit: caches, widgets and pages. Modules here hold no tensor arithmetic."""
