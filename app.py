"""The app: a table of pages and one navigation. Start it with `streamlit run app.py`."""

import streamlit as st

from xai.ui import limits, loading, own_shelf, state, upload_room

# Less than Streamlit's own empty space above a page, so that the figure and its slider are seen together, and less
# beside it in a narrow window, where the figure needs every pixel. On a phone every figure has the same scale, at which
# one column (536 px) fills the width: figures of two columns move sideways instead of shrinking beyond reading.
ROOM = """<style>
[data-testid='stMainBlockContainer'] {padding-top: 2.5rem}
@media (max-width: 1200px) {[data-testid='stMainBlockContainer'] {padding-left: 2rem; padding-right: 2rem}}
@media (max-width: 640px) {
  [data-testid='stImageContainer'] {overflow-x: auto}
  [data-testid='stImageContainer'] img:not([style*='width: 96px'], [style*='width: 128px']) {
    align-self: flex-start; width: auto !important; max-width: none !important; zoom: 0.59
  }
}
</style>"""


def main() -> None:
    """Draw the page that is asked for."""
    st.set_page_config("XAI workbench", ":material/visibility:", layout="wide", initial_sidebar_state=340)
    st.html(ROOM)
    limits.require_good_settings()
    loading.warm_up()
    upload_room.guard()
    own_shelf.keep_alive()
    st.navigation(
        [
            st.Page("xai/ui/pages/explain.py", title="Explain", icon=":material/visibility:", default=True),
            st.Page("xai/ui/pages/features.py", title="Features", icon=":material/layers:"),
            st.Page("xai/ui/pages/channel.py", title="Channel", icon=":material/grid_view:"),
            st.Page("xai/ui/pages/embeddings.py", title="Embeddings", icon=":material/scatter_plot:"),
            st.Page("xai/ui/pages/compare.py", title="Compare", icon=":material/compare:"),
            st.Page("xai/ui/pages/robustness.py", title="Robustness", icon=":material/trending_down:"),
            st.Page("xai/ui/pages/errors.py", title="Errors", icon=":material/error:"),
            st.Page("xai/ui/pages/models.py", title="Networks", icon=":material/account_tree:"),
            st.Page("xai/ui/pages/own.py", title="Your own", icon=":material/upload_file:"),
            st.Page("xai/ui/pages/train.py", title="Train", icon=":material/model_training:"),
            st.Page("xai/ui/pages/about.py", title="About", icon=":material/info:"),
        ]
    ).run()
    state.finish()


if __name__ == "__main__":  # processes that read pictures import this file, and must not start the app again
    main()
