"""Samples of what ``prune.py`` defines."""

from __future__ import annotations

SAMPLES = {
    "nn.utils.prune.identity": "nn.Linear(4, 3), 'weight' | x; !nn.Linear(4, 3), 'w'",
    "nn.utils.prune.random_unstructured": "nn.Linear(4, 3), 'weight', 0.5 | x;"
    " nn.Linear(4, 3), 'bias', 2 | x; !nn.Linear(4, 3), 'weight', 1.5;"
    " !nn.Linear(4, 3), 'weight', 13",
    "nn.utils.prune.l1_unstructured": "nn.Linear(4, 3), 'weight', 0.5 | x;"
    " nn.Linear(4, 3), 'weight', 3, torch.arange(12.0).reshape(3, 4) | x;"
    " !nn.Linear(4, 3), 'weight', -1",
    "nn.utils.prune.random_structured": "nn.Linear(4, 3), 'weight', 1, 0 | x;"
    " nn.Conv1d(4, 2, 3), 'weight', 0.5, dim=1 | line; !nn.Linear(4, 3), 'weight', 0.5, 2;"
    " !nn.Linear(4, 3), 'bias', 1, 0",
    "nn.utils.prune.ln_structured": "nn.Linear(4, 3), 'weight', 0.5, 2, 0 | x;"
    " nn.Conv1d(4, 2, 3), 'weight', 2, n=inf, dim=1 | line; !nn.Linear(4, 3), 'weight', 0.5, 2, 3",
    "nn.utils.prune.custom_from_mask": "nn.Linear(4, 3), 'weight', torch.arange(12).reshape(3, 4) %"
    " 2 | x; !nn.Linear(4, 3), 'w', torch.ones(3, 4)",
    "nn.utils.prune.global_unstructured": "((nn.Linear(4, 3), 'weight'),),"
    " nn.utils.prune.L1Unstructured, amount=0.5;"
    " !((nn.Linear(4, 3), 'weight'),), nn.utils.prune.LnStructured, amount=0.5;"
    " !3, nn.utils.prune.L1Unstructured",
    "nn.utils.prune.is_pruned": "nn.Linear(4, 3);"
    " nn.utils.prune.identity(nn.Linear(4, 3), 'weight')",
    "nn.utils.prune.remove": "nn.utils.prune.l1_unstructured(nn.Linear(4, 3), 'weight', 0.5),"
    " 'weight' | x; !nn.Linear(4, 3), 'weight'",
    "nn.utils.prune.Identity": "",
    "nn.utils.prune.RandomUnstructured": "0.5; 3; !1.5; !-1",
    "nn.utils.prune.L1Unstructured": "0.5; 3; !1.5; !-1",
    "nn.utils.prune.RandomStructured": "0.5; 3, 0; !1.5",
    "nn.utils.prune.LnStructured": "0.5, 2; 3, inf, 0; !1.5, 2",
    "nn.utils.prune.CustomFromMask": "torch.ones(3)",
    "nn.utils.prune.PruningContainer": "; !3",
}
