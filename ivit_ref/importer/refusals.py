"""Operators that are refused, each with the way out."""

from __future__ import annotations

STATIC = "quantize the model statically (onnxruntime.quantization.quantize_static with calibration data)"

DYNAMIC = f"scales computed from data at run time are not integers: {STATIC}"
WEIGHTS_ONLY = f"weights alone are quantized, activations are float: {STATIC}"
CONTROL = "control flow has no integer form: export the model without it (a fixed input shape, torch.export)"

MS = "com.microsoft::"

REFUSALS: dict[str, str] = {
    "DynamicQuantizeLinear": DYNAMIC,
    MS + "DynamicQuantizeMatMul": DYNAMIC,
    MS + "DynamicQuantizeLSTM": DYNAMIC,
    MS + "MatMulNBits": WEIGHTS_ONLY,
    MS + "MatMulBnb4": WEIGHTS_ONLY,
    MS + "MatMulFpQ4": WEIGHTS_ONLY,
    MS + "GatherBlockQuantized": WEIGHTS_ONLY,
    "If": CONTROL,
    "Loop": CONTROL,
    "Scan": CONTROL,
    "RMSNormalization": "it has no operator in I-ViT: only LayerNormalization has (ILayerNorm)",
    MS + "SimplifiedLayerNormalization": "it has no operator in I-ViT: only LayerNormalization has (ILayerNorm)",
    "BatchNormalization": "fold it into the convolution before it (onnxruntime.quantization.quant_pre_process does)",
    MS + "Attention": "take the fused attention apart (optimize the model without attention fusion)",
    MS + "MultiHeadAttention": "take the fused attention apart (optimize the model without attention fusion)",
    MS + "QAttention": "take the fused attention apart (optimize the model without attention fusion)",
    "qonnx.custom_op.general::Trunc": "its integers depend on a scale of its own: only Quant and IntQuant are read",
    "qonnx.custom_op.general::BipolarQuant": "one bit without zero is no integer type here: use two bits or more",
}

# fmt: off
QUANTIZED = frozenset((
    "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearMatMul", "QLinearConv", "MatMulInteger",
    "ConvInteger",
))
# fmt: on
"""A model with none of these, no com.microsoft operator of the kind, and no custom integer domain, is a float model."""


def is_quantized(type_: str) -> bool:
    """Whether an operator shows that the model is quantized."""
    domain, _, name = type_.rpartition("::")
    quantized = name.startswith(("Q", "MatMulNBits", "MatMulBnb4", "DynamicQuantize")) if domain == "com.microsoft" else False
    return type_ in QUANTIZED or quantized or domain in ("ivit", "qonnx.custom_op.general")


FLOAT_MODEL = f"the model must be quantized, but all of it is float32: {STATIC}; first: "
