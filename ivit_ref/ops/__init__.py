"""The operators of domain ``ai.ivit``, version 1, as plain functions on NumPy integer arrays: the table of contents.

Each file holds one operator: what it means, with its source; its constraints; the NumPy body that follows the text; the
type of its result; and the body as an ONNX function.
"""

from ivit_ref.ops.matmul import matmul
from ivit_ref.ops.linear import linear
from ivit_ref.ops.conv import conv

from ivit_ref.ops.requantize import requantize
from ivit_ref.ops.requantize_add import requantize_add
from ivit_ref.ops.gemmlowp_requantize import gemmlowp_requantize
from ivit_ref.ops.tosa_rescale import tosa_rescale
from ivit_ref.ops.center import center
from ivit_ref.ops.rescale import rescale
from ivit_ref.ops.quantize import quantize
from ivit_ref.ops.dequantize import dequantize

from ivit_ref.ops.shift_exp import shift_exp
from ivit_ref.ops.int_div import int_div
from ivit_ref.ops.shiftmax import shiftmax
from ivit_ref.ops.shift_gelu import shift_gelu
from ivit_ref.ops.int_sqrt import int_sqrt
from ivit_ref.ops.i_layer_norm import i_layer_norm
from ivit_ref.ops.lookup import lookup
from ivit_ref.ops.tflite_softmax import tflite_softmax

from ivit_ref.ops.i_bert_softmax import i_bert_softmax
from ivit_ref.ops.i_bert_gelu import i_bert_gelu
from ivit_ref.ops.i_bert_layer_norm import i_bert_layer_norm
from ivit_ref.ops.log_int_softmax import log_int_softmax
from ivit_ref.ops.shift_mat_mul import shift_mat_mul
from ivit_ref.ops.l1_layer_norm import l1_layer_norm
from ivit_ref.ops.ita_softmax import ita_softmax
from ivit_ref.ops.float_softmax import float_softmax
from ivit_ref.ops.float_gelu import float_gelu
from ivit_ref.ops.float_layer_norm import float_layer_norm

from ivit_ref.ops.mul import mul
from ivit_ref.ops.clip import clip
from ivit_ref.ops.reduce_sum import reduce_sum
from ivit_ref.ops.reduce_mean import reduce_mean
from ivit_ref.ops.max_pool import max_pool
from ivit_ref.ops.where import where

from ivit_ref.ops.reshape import reshape
from ivit_ref.ops.transpose import transpose
from ivit_ref.ops.concat import concat
from ivit_ref.ops.slice import slice_
from ivit_ref.ops.take import take
from ivit_ref.ops.roll import roll
from ivit_ref.ops.expand import expand

__all__ = [
    "center",
    "clip",
    "concat",
    "conv",
    "dequantize",
    "expand",
    "float_gelu",
    "float_layer_norm",
    "float_softmax",
    "gemmlowp_requantize",
    "i_bert_gelu",
    "i_bert_layer_norm",
    "i_bert_softmax",
    "i_layer_norm",
    "int_div",
    "int_sqrt",
    "ita_softmax",
    "l1_layer_norm",
    "linear",
    "log_int_softmax",
    "lookup",
    "matmul",
    "max_pool",
    "mul",
    "quantize",
    "reduce_mean",
    "reduce_sum",
    "requantize",
    "requantize_add",
    "rescale",
    "reshape",
    "roll",
    "shift_exp",
    "shift_gelu",
    "shift_mat_mul",
    "shiftmax",
    "slice_",
    "take",
    "tflite_softmax",
    "tosa_rescale",
    "transpose",
    "where",
]
