"""Samples of the functions in ``gathering``."""

SAMPLES = {
    "gather": "x, 1, k; x, 0, place; x, -1, k[:2, :1]; i, 1, k; s, 0, torch.tensor(0); c, 1, k;"
    "x, 1, k[:, :0]; x, 1, k, sparse_grad=False; !x, 1, i + 10; !x, 2, k; !x, 1, y; !x, 1, labels",
    "take_along_dim": "x, k, 1; x, place, dim=0; v, labels; x, k[:1], 1; x, x.argsort(1), 1;"
    "i, k, -1; !x, y, 1; !x, labels, 1; x, k + 9, 1; x, i - 9, 1; !x, k + 9",
    "scatter": "x, 1, y.argsort(1), z; x, 0, y.argsort(0), z; x, 1, k[:, :1], 2.5; i, 1, k, 3;"
    "x, 1, k, z, reduce='add' # no-grad; x, 0, place, 2.0, reduce='multiply' # no-grad;"
    "torch.zeros(4, 6), 1, k[:, :1], x[:, :1]; s, 0, torch.tensor(0), s + 1;"
    "x, 1, k[:0], y # no-grad; !x, 1, k, i; !x, 1, k + 9, y; !x, 1, y, z;"
    "!x, 1, k, y, reduce='mean'; !x, 2, k, y; !x, 1, labels, y; !x, 1, k",
    "scatter_add": "x, 1, k, y; x, 0, place, y; torch.zeros(5, 4), 0, i.abs() % 5, y; i, 1, k, j;"
    "x, 1, k[:2, :1], y[:2, :1]; s, 0, torch.tensor(0), s + 1; !x, 1, k, i; !x, 1, k + 9, y;"
    "!x, 1, y, z; !x, 2, k, y; !x, 1, labels, y",
    "scatter_reduce": "x, 1, k, y, 'sum'; x, 1, k, y, 'prod'; x, 1, k, y, 'mean';"
    "x, 0, place, y, 'amax'; x, 1, k, y, 'amin', include_self=False;"
    "x, 1, k, y, reduce='mean', include_self=False; x, 1, k, y, 'prod', include_self=False;"
    "i, 1, k, j, 'amax'; i, 1, k, j, 'mean'; !x, 1, k, y, 'add'; !x, 1, k, i, 'sum';"
    "!x, 1, k + 9, y, 'sum'; !x, 2, k, y, 'sum'",
    "index_select": "x, 0, torch.tensor([2, 0, 2]); x, 1, labels; x, -1, torch.tensor(1);"
    "i, 1, labels; x, 0, labels[:0]; s, 0, torch.tensor([0]); x, 1, labels.int(); c, 1, labels;"
    "!x, 1, k; !x, 1, v; !x, 0, torch.tensor([3]); !x, 2, labels; !s, 0, torch.tensor([0, 0])",
    "index_add": "x, 1, labels, tall[:3]; x, 0, torch.tensor([0, 2]), y[:2], alpha=0.5;"
    "i, 1, labels, j[:, :3]; i, 1, labels, j[:, :3], alpha=2; x, 1, labels.int(), tall[:3];"
    "v, 0, labels, u; !x, 1, labels, y; !x, 1, labels, i[:, :3]; !x, 1, k, y;"
    "!x, 1, labels + 9, tall[:3]; i, 1, labels, j[:, :3], alpha=2.5; !x, 2, labels, y",
    "index_copy": "x, 1, torch.tensor([3, 0]), y[:, :2]; x, 0, torch.tensor([1, 2]), y[:2];"
    "i, 0, torch.tensor([1, 2]), j[:2]; v, 0, torch.tensor(2), s; x, -1, labels[:0], y[:, :0];"
    "!x, 1, labels, y; !x, 1, torch.tensor([3, 0]), i[:, :2]; !x, 1, k, y;"
    "!x, 1, torch.tensor([4]), y[:, :1]; !x, 1, labels.int(), tall[:3]",
    "index_fill": "x, 1, labels, 2.5; x, 0, torch.tensor([2, 0]), s; i, 1, labels, 7;"
    "truth, 1, labels, True; x, 1, labels[:0], 1; s, 0, torch.tensor([0]), 2; !x, 1, labels, v;"
    "!x, 1, labels + 9, 1; !x, 1, v, 1; !x, 2, labels, 1; !x, 1, labels, 1j; !x, 1, k, 1",
    "index_reduce": "x, 1, labels, tall[:3], 'prod'; x, 1, labels, tall[:3], 'mean';"
    "x, 1, labels, tall[:3], 'amax'; x, 0, torch.tensor([0, 0]), y[:2], 'amin', include_self=False;"
    "i, 1, labels, j[:, :3], 'amax'; x, 1, labels, tall[:3], 'mean', include_self=False;"
    "!x, 1, labels, tall[:3], 'sum'; !x, 1, labels, i[:, :3], 'prod'; !x, 1, labels, y, 'prod'",
    "take": "x, i.abs(); x, torch.tensor([[0, -1], [5, 11]]); i, k; s, torch.tensor(0); x, k[:0];"
    "empty, k[:0]; !x, y; !x, torch.tensor([12]); !empty, k; !x, k.int()",
    "put": "x, torch.tensor([1, -1, 5]), u; x, k, y, accumulate=True;"
    "i, torch.tensor([[3], [4]]), j[:2, :1]; x, k[:0], y[:0]; !x, k, u; !x, v.long() + 30, v;"
    "!x, u, u; !x, labels, labels",
    "Tensor.put_": "torch.zeros(3, 4), labels * 3 % 11, u, True; i, torch.tensor([0, 5]), j[0, :2];"
    "!i, k, labels; !i, k, x",
}
