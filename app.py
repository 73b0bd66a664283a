"""The app: a table of pages and one navigation. Start it with `streamlit run app.py`."""

import streamlit as st

from xai.ui import loading

st.set_page_config("XAI workbench", ":material/visibility:", layout="wide")
loading.warm_up()
st.navigation(
    [
        st.Page("xai/ui/pages/explain.py", title="Explain", icon=":material/visibility:", default=True),
        st.Page("xai/ui/pages/models.py", title="Networks", icon=":material/account_tree:"),
        st.Page("xai/ui/pages/about.py", title="About", icon=":material/info:"),
    ]
).run()
