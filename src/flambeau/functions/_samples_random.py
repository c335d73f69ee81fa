"""Samples of the functions in ``random``; both libraries draw from the same seed."""

SAMPLES = {
    "bernoulli": "unit; unit, 0.3; unit.double(); torch.tensor([0.0, 1.0]); i, 0.5; empty;"
    "unit, p=0.7; !big; !unit, 1.5; !i",
    "binomial": "torch.tensor([5.0, 20.0, 100.0]), signs.abs() * 0.3; positive.round(), unit;"
    "10 * positive.double().round(), unit.double(); -positive, unit; !positive, unit.double()",
    "multinomial": "unit, 2; unit[0], 3; unit, 6, True; unit[0], 20, replacement=True;"
    "positive.double(), 4; !unit, 5; !unit, 0; !cube, 1; !-unit, 1; !i, 1; !torch.zeros(3), 1",
    "normal": "0.0, 1.0, (2, 3); x, positive; x, 2.0; 1.0, positive; x, row.abs(); mean=x;"
    "2.0, 0.5, size=(20,); 0.0, 1.0, (2,), dtype=torch.float64; !0.0, -1.0, (2,); !x, -positive;"
    "!x, u.abs()",
    "poisson": "positive; 10 * positive; 100 * positive.double(); torch.zeros(3); empty; !i; !2.0",
    "rand": "3; 2, 3; (2, 3); 20; 2, dtype=torch.float64; 40, dtype=torch.bfloat16; 0; ();"
    "3, dtype=torch.complex64; !-1; !2, dtype=torch.int64; !2.5",
    "randn": "3; 2, 3; (2, 3); 20; 2, dtype=torch.float64; 40, dtype=torch.float16; 0; ();"
    "3, dtype=torch.complex64; 20, dtype=torch.complex128; !-1; !2, dtype=torch.int64; !2.5",
    "randint": "5, (3,); -3, 4, (2, 3); 10, [2], dtype=torch.float32; 0, 2**40, (3,); 3, (0,);"
    "0, 200, (5,), dtype=torch.uint8; low=1, high=9, size=(4,); !0, (3,); !3, 1, (2,); !5, 3;"
    "!0, 300, (2,), dtype=torch.uint8",
    "randperm": "5; 0; 1; 10, dtype=torch.int32; 20, dtype=torch.float32; !-1; !2.5;"
    "!300, dtype=torch.uint8",
    "rand_like": "x; x, dtype=torch.float64; image; half; c; empty; !i; !2.0",
    "randn_like": "x; x, dtype=torch.float64; image; half; c; empty; !i; !2.0",
    "randint_like": "x, 5; i, -3, 4; x, 2, 9, dtype=torch.int64; empty, 3; half, 5; !x, 0;"
    "!x, 3, 1; !2, 3",
    "Tensor.bernoulli_": "torch.zeros(3, 4); torch.zeros(20), 0.3;"
    "torch.zeros(3, 4), unit.detach(); i, 0.5; !i, 1.5; !torch.zeros(2), unit",
    "Tensor.cauchy_": "torch.zeros(3, 4); torch.zeros(20), 1.0, 2.0; torch.zeros(3).double(); !i;"
    "!torch.zeros(2), 0, -1",
    "Tensor.exponential_": "torch.zeros(3, 4); torch.zeros(20), 2.0; torch.zeros(3).double(); !i;"
    "!torch.zeros(2), -1.0",
    "Tensor.geometric_": "torch.zeros(3, 4), 0.3; i, 0.5; torch.zeros(3).double(), 0.9; !i, 1.5;"
    "!torch.zeros(2); !i, 0",
    "Tensor.log_normal_": "torch.zeros(3, 4); torch.zeros(20), 0.5, 0.3; torch.zeros(3).double();"
    "!i; !torch.zeros(2), 0, -1",
    "Tensor.normal_": "torch.zeros(3, 4); torch.zeros(20), 1.0, 2.0; torch.zeros(3).double();"
    "torch.zeros(20, dtype=torch.bfloat16); torch.zeros(3, dtype=torch.complex64); !i;"
    "!torch.zeros(2), 0, -1",
    "Tensor.random_": "torch.zeros(3, 4); i, 5; i, -3, 9; torch.zeros(3).double(), 10; small;"
    "truth; torch.zeros(20), 2, 5; !i, 5, 5; !i, 3, 1",
    "Tensor.uniform_": "torch.zeros(3, 4); torch.zeros(20), -1.0, 2.0; torch.zeros(3).double();"
    "torch.zeros(20, dtype=torch.bfloat16); !i; !torch.zeros(2), 1, 0",
}
