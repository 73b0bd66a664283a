"""The seven gradient CAMs as methods of the registry."""

from __future__ import annotations

from collections.abc import Iterable

from xai.attribution_types import Call, Result, register
from xai.cam import CAMS, activations_and_gradients, fuse
from xai.taps import check_grid, position

_ENTRIES = (
    (
        "gradcam",
        "Grad-CAM",
        True,
        "Feature maps weighted by their mean gradient; means what HiResCAM means only under average pooling and one "
        "linear layer (Selvaraju et al., ICCV 2017).",
    ),
    (
        "gradcam++",
        "Grad-CAM++",
        True,
        "Feature maps weighted by their positive gradients with pixel-wise coefficients, for several objects of one "
        "class (Chattopadhay et al., WACV 2018).",
    ),
    (
        "xgradcam",
        "XGrad-CAM",
        True,
        "Feature maps weighted by the activation-weighted mean of the gradient (Fu et al., BMVC 2020).",
    ),
    (
        "layercam",
        "LayerCAM",
        True,
        "Every cell of every feature map weighted by its own positive gradient (Jiang et al., IEEE TIP 2021).",
    ),
    (
        "hirescam",
        "HiResCAM",
        True,
        "Gradient times activation cell by cell: what the layer adds to the score, to first order (Draelos and Carin, "
        "2020).",
    ),
    (
        "eigencam",
        "Eigen-CAM",
        True,
        "First principal component of the feature maps; does not depend on the class (Muhammad and Yeasin, IJCNN "
        "2020).",
    ),
    (
        "elementwise_gradcam",
        "Element-wise Grad-CAM",
        False,
        "HiResCAM with only the positive products summed (grad-cam's GradCAMElementWise).",
    ),
)


def cam_results(call: Call, names: Iterable[str]) -> dict[str, Result]:
    """Results of several gradient CAMs from one forward and one partial backward pass."""
    names = list(names)
    taps, gradients, targets = activations_and_gradients(
        call.model.network, call.images, call.targets, call.layers, gradients=names != ["eigencam"]
    )
    check_grid(call.model, call.images, call.layers, taps)
    words = position(call.model.network, call.layers, taps)
    return {
        name: Result(
            fuse([CAMS[name](taps[layer], gradients[layer]) for layer in call.layers]), words, targets
        )
        for name in names
    }


def _register(name: str, title: str, signed: bool, description: str) -> None:
    @register(name, title, "gradient CAM", description, signed=signed, layered=True)
    def compute(call: Call) -> Result:
        return cam_results(call, [name])[name]


for _entry in _ENTRIES:
    _register(*_entry)
