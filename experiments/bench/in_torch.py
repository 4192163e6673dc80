"""PyTorch as a system of the benchmark."""

from collections.abc import Callable, Mapping
from functools import partial

from experiments.bench.work import Timed, Work, inputs, num_cores


def torch_system(work: Work, options: Mapping[str, str]) -> dict[str, Timed]:
    """On one thread and on as many as there are cores."""
    del options
    import torch

    torch.manual_seed(0)
    calls = _torch_decoding(work) if work.mode == "decode" else {"": _torch_step(work)}

    def on(threads: int, call: Callable[[], list]) -> list:
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        return call()

    return {
        f"{how}{threads} thread{'s' * (threads > 1)}": Timed(partial(on, threads, call))
        for threads in sorted({1, num_cores()})
        for how, call in calls.items()
    }


def _torch_step(work: Work) -> Callable[[], list]:
    import torch

    layers = {"elman": torch.nn.RNN, "gru": torch.nn.GRU, "lstm": torch.nn.LSTM}
    layer = layers[work.cell](work.input_size, work.hidden_size)
    xs = torch.from_numpy(inputs(work))

    def train() -> list:
        layer.zero_grad()
        loss = layer(xs)[0].square().mean()
        loss.backward()
        return [loss.detach(), *(p.grad for p in layer.parameters())]

    def forward() -> list:
        with torch.inference_mode():
            return [layer(xs)[0]]

    return train if work.mode == "train" else forward


def _torch_decoding(work: Work) -> dict[str, Callable[[], list]]:
    """The loop as it is usually written, around the layer and around the cell; the faster of them counts."""
    import torch

    V, H = work.input_size, work.hidden_size
    readout = torch.nn.Linear(H, V)

    def decode(step: Callable) -> list:
        with torch.inference_mode():
            token, h, drawn = torch.ones(work.batch_size, dtype=torch.long), torch.zeros(work.batch_size, H), []
            for _ in range(work.seq_len):
                h = step(torch.nn.functional.one_hot(token, V).float(), h)
                token = torch.multinomial(torch.softmax(readout(h), -1), 1)[:, 0]
                drawn.append(token)
            return [torch.stack(drawn)]

    layer, cell = torch.nn.GRU(V, H), torch.nn.GRUCell(V, H)
    return {
        "GRU, ": partial(decode, lambda x, h: layer(x[None], h[None])[1][0]),
        "GRUCell, ": partial(decode, cell),
    }
