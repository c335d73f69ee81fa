"""Calls of the functions that drop values, for the tests generated from them."""

SAMPLES = {
    "nn.functional.dropout": "x; x, 0.3; x, p=0.0; x, 1.0 # floats; x, 0.5, False;"
    " x * 1, 0.25, inplace=True; empty; !x, 1.5; !x, -0.1",
    "nn.functional.alpha_dropout": "x, training=True; x, 0.3, True; x, 0.3; x * 1, 0.2, True, True;"
    " !x, 1.5, True",
    "nn.functional.feature_alpha_dropout": "image, 0.3, True; line, 0.5;"
    " image * 1, 0.4, True, True; !image, -1.0, True",
    "nn.functional.dropout1d": "line; line, 0.3; x; line, 0.5, False; line * 1, 0.25, True, True;"
    " !line, 2.0; !v",
    "nn.functional.dropout2d": "image; image, 0.3; cube; image, 0.5, False;"
    " image * 1, 0.25, inplace=True; !image, -0.5",
    "nn.functional.dropout3d": "volume; volume, 0.3; image; volume, 0.5, training=False;"
    " volume * 1, 0.25, inplace=True; !volume, 1.1",
}
