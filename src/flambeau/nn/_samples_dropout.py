"""Calls of the modules that drop values, for the tests generated from them."""

SAMPLES = {
    "nn.Dropout": "| x; 0.25 | x; 0.3, True | x * 1; 0.0 | x; 1.0 | x; !1.5; !-0.1",
    "nn.Dropout1d": "| line; 0.25 | x; 0.3, inplace=True | line * 1; !1.5; !| v",
    "nn.Dropout2d": "| image; 0.25 | cube; 0.3, inplace=True | image * 1; !1.5",
    "nn.Dropout3d": "| volume; 0.25 | image; 0.3, inplace=True | volume * 1; !-1.0",
    "nn.AlphaDropout": "| x; 0.25 | image; 0.3, True | x * 1; !1.5",
    "nn.FeatureAlphaDropout": "| image; 0.25 | line; 0.3, True | image * 1; !1.5",
}
