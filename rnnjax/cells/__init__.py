"""Every cell by name. A cell is a factory `name(hidden_size, **options) -> Cell`, one line in CELLS."""

import inspect
from collections.abc import Callable

from rnnjax.cell import Cell, shown
from rnnjax.cells.additive import AdditiveParams, MinimalRNNParams, atr, cfn, minimal_rnn, ran, sgrn, star
from rnnjax.cells.antisymmetric import (
    AntisymmetricParams,
    LipschitzParams,
    antisymmetric,
    antisymmetric_gated,
    lipschitz,
)
from rnnjax.cells.bistable import br, nbr
from rnnjax.cells.delta_rule import GatedDeltaParams, delta_net, delta_product, gated_delta_net
from rnnjax.cells.elman import ElmanParams, elman, elman_relu, irnn
from rnnjax.cells.exponential import SLSTMCarry, slstm
from rnnjax.cells.gated_linear_attention import GLAParams, gated_linear_attention, hgrn2
from rnnjax.cells.gru import GRUParams, gru, gru_reset_before
from rnnjax.cells.highway import rhn
from rnnjax.cells.independent import IndRNNParams, ParaGRUParams, ParaLSTMParams, indrnn, para_gru, para_lstm
from rnnjax.cells.intersection_rnn import IntersectionParams, intersection_rnn
from rnnjax.cells.jordan import JordanParams, jordan
from rnnjax.cells.leaky import LeakyParams, TauGRUCarry, TauGRUParams, leaky, tau_gru
from rnnjax.cells.legendre import LinearLMUParams, LMUCarry, LMUParams, linear_lmu, lmu
from rnnjax.cells.light import fastgrnn, fastrnn, lightru
from rnnjax.cells.linear_oscillators import DLinOSSParams, LinOSSParams, d_linoss, linoss_im, linoss_imex
from rnnjax.cells.longhorn import LonghornParams, longhorn
from rnnjax.cells.lru import LRUParams, RGLRUParams, lru, rg_lru
from rnnjax.cells.lstm import (
    LSTMCarry,
    LSTMParams,
    lstm,
    lstm_1997,
    lstm_cifg,
    lstm_fgr,
    lstm_nfg,
    lstm_niaf,
    lstm_nig,
    lstm_noaf,
    lstm_nog,
    lstm_np,
    lstm_vanilla,
)
from rnnjax.cells.lstm_blocks import LSTMBlocksCarry, LSTMBlocksParams, lstm_blocks
from rnnjax.cells.lstm_connections import residual_lstm, wmclstm
from rnnjax.cells.mass_conserving import mclstm
from rnnjax.cells.matrix_memory import MemoryCarry, MemoryParams, MLSTMCarry, linear_attention, mlstm
from rnnjax.cells.mgu import MGUParams, mgu, mgu1, mgu2, mgu3
from rnnjax.cells.minimal import InputParams, mingru, minlstm
from rnnjax.cells.multiplicative import mi_gru, mi_lstm, mi_rnn, multiplicative_lstm
from rnnjax.cells.mut import MUTParams, mut1, mut2, mut3
from rnnjax.cells.nas import nas
from rnnjax.cells.normalised import gru_layer_norm, lstm_layer_norm
from rnnjax.cells.one_gate import janet, ligru, ugrnn
from rnnjax.cells.orthogonal import GORUParams, NNRNNParams, OrthogonalParams, exprnn, goru, nnrnn, scornn
from rnnjax.cells.oscillators import (
    CoRNNParams,
    LEMCarry,
    LEMParams,
    OscillatorCarry,
    UnICORNNParams,
    cornn,
    lem,
    unicornn,
)
from rnnjax.cells.quasi_recurrent import QRNNCarry, QRNNParams, qrnn
from rnnjax.cells.rwkv import RWKV7Carry, RWKV7Params, rwkv7
from rnnjax.cells.scrn import SCRNCarry, SCRNParams, scrn
from rnnjax.cells.selective import SelectiveParams, SSDParams, selective_ssm, ssd
from rnnjax.cells.sgu import SGUParams, dsgu, sgu
from rnnjax.cells.simple_recurrent_unit import SRUParams, sru, sru_v2
from rnnjax.cells.state_space import S4DParams, S5Params, s4d, s5
from rnnjax.cells.strongly_typed import TypedCarry, t_gru, t_lstm, t_rnn
from rnnjax.cells.time_delay import TimeDelayParams, time_delay
from rnnjax.cells.timescales import ClockworkCarry, FastSlow, clockwork, fast_slow
from rnnjax.cells.unitary import EUNNParams, UnitaryParams, URNNParams, eunn, full_capacity_urnn, urnn
from rnnjax.errors import unknown

CELLS: dict[str, Callable[..., Cell]] = {
    "elman": elman,
    "elman_relu": elman_relu,
    "irnn": irnn,
    "gru": gru,
    "gru_reset_before": gru_reset_before,
    "lstm": lstm,
    "lstm_1997": lstm_1997,
    "lstm_blocks": lstm_blocks,
    "lstm_vanilla": lstm_vanilla,
    "lstm_np": lstm_np,
    "lstm_nig": lstm_nig,
    "lstm_nfg": lstm_nfg,
    "lstm_nog": lstm_nog,
    "lstm_niaf": lstm_niaf,
    "lstm_noaf": lstm_noaf,
    "lstm_cifg": lstm_cifg,
    "lstm_fgr": lstm_fgr,
    "time_delay": time_delay,
    "jordan": jordan,
    "mut1": mut1,
    "mut2": mut2,
    "mut3": mut3,
    "scrn": scrn,
    "janet": janet,
    "ugrnn": ugrnn,
    "ligru": ligru,
    "mgu": mgu,
    "mgu1": mgu1,
    "mgu2": mgu2,
    "mgu3": mgu3,
    "sgu": sgu,
    "dsgu": dsgu,
    "intersection_rnn": intersection_rnn,
    "ran": ran,
    "cfn": cfn,
    "atr": atr,
    "sgrn": sgrn,
    "star": star,
    "minimal_rnn": minimal_rnn,
    "rhn": rhn,
    "nas": nas,
    "br": br,
    "nbr": nbr,
    "wmclstm": wmclstm,
    "residual_lstm": residual_lstm,
    "multiplicative_lstm": multiplicative_lstm,
    "mi_rnn": mi_rnn,
    "mi_lstm": mi_lstm,
    "mi_gru": mi_gru,
    "lightru": lightru,
    "fastrnn": fastrnn,
    "fastgrnn": fastgrnn,
    "t_rnn": t_rnn,
    "t_gru": t_gru,
    "t_lstm": t_lstm,
    "lstm_layer_norm": lstm_layer_norm,
    "gru_layer_norm": gru_layer_norm,
    "clockwork": clockwork,
    "fast_slow": fast_slow,
    "slstm": slstm,
    "mclstm": mclstm,
    "urnn": urnn,
    "full_capacity_urnn": full_capacity_urnn,
    "eunn": eunn,
    "exprnn": exprnn,
    "scornn": scornn,
    "nnrnn": nnrnn,
    "goru": goru,
    "indrnn": indrnn,
    "para_gru": para_gru,
    "para_lstm": para_lstm,
    "antisymmetric": antisymmetric,
    "antisymmetric_gated": antisymmetric_gated,
    "lipschitz": lipschitz,
    "cornn": cornn,
    "unicornn": unicornn,
    "lem": lem,
    "linoss_im": linoss_im,
    "linoss_imex": linoss_imex,
    "d_linoss": d_linoss,
    "leaky": leaky,
    "tau_gru": tau_gru,
    "qrnn": qrnn,
    "sru": sru,
    "sru_v2": sru_v2,
    "mingru": mingru,
    "minlstm": minlstm,
    "lru": lru,
    "rg_lru": rg_lru,
    "s4d": s4d,
    "s5": s5,
    "selective_ssm": selective_ssm,
    "ssd": ssd,
    "longhorn": longhorn,
    "lmu": lmu,
    "linear_lmu": linear_lmu,
    "linear_attention": linear_attention,
    "gated_linear_attention": gated_linear_attention,
    "hgrn2": hgrn2,
    "delta_net": delta_net,
    "gated_delta_net": gated_delta_net,
    "delta_product": delta_product,
    "rwkv7": rwkv7,
    "mlstm": mlstm,
}

__all__ = [
    "CELLS",
    "AdditiveParams",
    "AntisymmetricParams",
    "ClockworkCarry",
    "CoRNNParams",
    "DLinOSSParams",
    "EUNNParams",
    "ElmanParams",
    "FastSlow",
    "GLAParams",
    "GORUParams",
    "GRUParams",
    "GatedDeltaParams",
    "IndRNNParams",
    "InputParams",
    "IntersectionParams",
    "JordanParams",
    "LEMCarry",
    "LEMParams",
    "LMUCarry",
    "LMUParams",
    "LRUParams",
    "LSTMBlocksCarry",
    "LSTMBlocksParams",
    "LSTMCarry",
    "LSTMParams",
    "LeakyParams",
    "LinOSSParams",
    "LinearLMUParams",
    "LipschitzParams",
    "LonghornParams",
    "MGUParams",
    "MLSTMCarry",
    "MUTParams",
    "MemoryCarry",
    "MemoryParams",
    "MinimalRNNParams",
    "NNRNNParams",
    "OrthogonalParams",
    "OscillatorCarry",
    "ParaGRUParams",
    "ParaLSTMParams",
    "QRNNCarry",
    "QRNNParams",
    "RGLRUParams",
    "RWKV7Carry",
    "RWKV7Params",
    "S4DParams",
    "S5Params",
    "SCRNCarry",
    "SCRNParams",
    "SGUParams",
    "SLSTMCarry",
    "SRUParams",
    "SSDParams",
    "SelectiveParams",
    "TauGRUCarry",
    "TauGRUParams",
    "TimeDelayParams",
    "TypedCarry",
    "URNNParams",
    "UnICORNNParams",
    "UnitaryParams",
    "antisymmetric",
    "antisymmetric_gated",
    "atr",
    "br",
    "cell_options",
    "cfn",
    "clockwork",
    "cornn",
    "d_linoss",
    "delta_net",
    "delta_product",
    "dsgu",
    "elman",
    "elman_relu",
    "eunn",
    "exprnn",
    "fast_slow",
    "fastgrnn",
    "fastrnn",
    "full_capacity_urnn",
    "gated_delta_net",
    "gated_linear_attention",
    "goru",
    "gru",
    "gru_layer_norm",
    "gru_reset_before",
    "hgrn2",
    "indrnn",
    "intersection_rnn",
    "irnn",
    "janet",
    "jordan",
    "leaky",
    "lem",
    "lightru",
    "ligru",
    "linear_attention",
    "linear_lmu",
    "linoss_im",
    "linoss_imex",
    "lipschitz",
    "lmu",
    "longhorn",
    "lru",
    "lstm",
    "lstm_1997",
    "lstm_blocks",
    "lstm_cifg",
    "lstm_fgr",
    "lstm_layer_norm",
    "lstm_nfg",
    "lstm_niaf",
    "lstm_nig",
    "lstm_noaf",
    "lstm_nog",
    "lstm_np",
    "lstm_vanilla",
    "make_cell",
    "mclstm",
    "mgu",
    "mgu1",
    "mgu2",
    "mgu3",
    "mi_gru",
    "mi_lstm",
    "mi_rnn",
    "mingru",
    "minimal_rnn",
    "minlstm",
    "mlstm",
    "multiplicative_lstm",
    "mut1",
    "mut2",
    "mut3",
    "nas",
    "nbr",
    "nnrnn",
    "para_gru",
    "para_lstm",
    "qrnn",
    "ran",
    "residual_lstm",
    "rg_lru",
    "rhn",
    "rwkv7",
    "s4d",
    "s5",
    "scornn",
    "scrn",
    "selective_ssm",
    "sgrn",
    "sgu",
    "slstm",
    "sru",
    "sru_v2",
    "ssd",
    "star",
    "t_gru",
    "t_lstm",
    "t_rnn",
    "tau_gru",
    "time_delay",
    "ugrnn",
    "unicornn",
    "urnn",
    "wmclstm",
]


def cell_options(factory: Callable[..., Cell]) -> dict[str, inspect.Parameter]:
    """The options a factory takes, by name, with their defaults."""
    parameters = list(inspect.signature(factory).parameters.values())[1:]
    return {p.name: p for p in parameters if p.kind is not inspect.Parameter.VAR_KEYWORD}


@shown
def make_cell(name: str, hidden_size: int, **options) -> Cell:
    """The cell of this name in CELLS.

    Raises:
      ValueError: unknown name or option (with the closest known one), or a value the factory refuses.
    """
    if name not in CELLS:
        raise ValueError(unknown("cell", name, CELLS))
    known = cell_options(CELLS[name])
    for option in options:
        if option not in known:
            raise ValueError(unknown(f"option of cell {name!r}", option, known))
    return CELLS[name](hidden_size, **options)
