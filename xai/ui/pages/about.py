"""The About page: what the app shows, and how to read it."""

import streamlit as st

st.title("About")
st.markdown(
    """
This workbench shows how convolutional networks decide, and how that changes when the network or the quality of
the picture changes.

**Reading a heatmap.** A map shows where evidence for *one class* was found at *one layer*, in the units of its
method; it does not show what the network "sees". Maps of one network, clean and degraded, share one scale. Maps of
two networks are divided by their largest clean value before they are subtracted.

**When not to trust Grad-CAM.** Its weights average the gradient over the map. At the last stage before average
pooling and one linear layer (ResNet) that is exact; at earlier layers, and before fully connected layers (AlexNet),
it is not. The page says how far Grad-CAM and HiResCAM agree, and warns when they don't.

**Severity.** Degradations follow CIFAR-10-C for small inputs and ImageNet-C for large ones, or the grid of a paper on
low-quality pictures; the constants in force stand above the figure. Frost and spatter are not implemented.

**Your pictures** are kept in this server's memory: the files with your session, and what is decoded and computed
from them in a store of bounded size, which all visitors share and whose entries are reached only by a hash of the
picture or the random name of the upload. The app never writes them to disk (while a file above 1 MB arrives, the web
server may hold it in a temporary file that nobody else can name). A link to the page carries the choices, never an
upload.
"""
)
