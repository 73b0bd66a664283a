"""Image intake, degradations and datasets. Knows neither `models` nor `xai`."""
