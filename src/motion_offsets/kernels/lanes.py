"""Eight numbers as one value in numba kernels, so that a kernel says itself what becomes a vector instruction.

A bilinear sample of four interleaved channels is eight numbers from one row of the image and eight from the next. The
compiler's own search for such patterns finds them only in part; written with these lanes it has nothing to search for.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel import models
from numba.extending import intrinsic, lower_builtin, register_model, type_callable

COUNT = 8


class Lanes(types.Type):
    """``COUNT`` float32 or float64 numbers side by side."""

    def __init__(self, scalar: types.Float) -> None:
        self.scalar = scalar
        super().__init__(name=f"Lanes({scalar})")


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Lanes) -> None:
        super().__init__(manager, kind, ir.VectorType(manager.lookup(kind.scalar).get_value_type(), COUNT))


def _register_operator(function: Callable, name: str) -> None:
    @type_callable(function)
    def typing(context: Any) -> Callable:
        return lambda left, right: left if isinstance(left, Lanes) and left == right else None

    @lower_builtin(function, Lanes, Lanes)
    def lowering(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        # A product and a sum may become one instruction, and the sign of zero is nobody's concern.
        return getattr(builder, name)(*arguments, flags=("contract", "nsz"))


for _function, _name in ((operator.add, "fadd"), (operator.sub, "fsub"), (operator.mul, "fmul")):
    _register_operator(_function, _name)


def _address(context: Any, builder: Any, array_type: Any, array: Any, index: Any, item: Any = None) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    lanes = ir.VectorType(item or data.type.pointee, COUNT)
    return builder.bitcast(builder.gep(data, [index]), lanes.as_pointer())


@intrinsic
def load(typing, array, index):
    """Eight neighbours of a contiguous one-dimensional array, from ``index`` (unsigned) on."""

    def lowering(context, builder, signature, arguments):
        place = _address(context, builder, signature.args[0], *arguments)
        return builder.load(place, align=array.dtype.bitwidth // 8)

    return Lanes(array.dtype)(array, types.uint64), lowering


@intrinsic
def store(typing, array, index, value):
    """Write eight neighbours of a contiguous one-dimensional array, from ``index`` (unsigned) on."""

    def lowering(context, builder, signature, arguments):
        place = _address(context, builder, signature.args[0], *arguments[:2])
        builder.store(arguments[2], place, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.uint64, value), lowering


@intrinsic
def splat(typing, value):
    """The same number eight times."""
    lanes = Lanes(value)

    def lowering(context, builder, signature, arguments):
        one = builder.insert_element(
            ir.Constant(context.get_value_type(lanes), ir.Undefined), arguments[0], ir.Constant(ir.IntType(32), 0)
        )
        same = ir.Constant(ir.VectorType(ir.IntType(32), COUNT), [0] * COUNT)
        return builder.shuffle_vector(one, one, same)

    return lanes(value), lowering


@intrinsic
def clamp(typing, value, low, high):
    """Each of eight numbers moved into [low, high]; NaN lands on ``low``."""

    def lowering(context, builder, signature, arguments):
        value, low, high = arguments
        value = builder.select(builder.fcmp_ordered(">", value, low), value, low)
        return builder.select(builder.fcmp_ordered("<", value, high), value, high)

    return value(value, low, high), lowering


@intrinsic
def between(typing, value, low, high):
    """1 for each of eight numbers that lies in (low, high), 0 for the others and for NaN."""

    def lowering(context, builder, signature, arguments):
        value, low, high = arguments
        inside = builder.and_(builder.fcmp_ordered(">", value, low), builder.fcmp_ordered("<", value, high))
        one, zero = (ir.Constant(value.type, [float(number)] * COUNT) for number in (1, 0))
        return builder.select(inside, one, zero)

    return value(value, low, high), lowering


@intrinsic
def floor(typing, value):
    """The floor of each of eight numbers."""

    def lowering(context, builder, signature, arguments):
        lanes = arguments[0].type
        name = f"llvm.floor.v{COUNT}f{value.scalar.bitwidth}"
        kind = ir.FunctionType(lanes, [lanes])
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)

    return value(value), lowering


@intrinsic
def total(typing, value):
    """The sum of eight numbers."""

    def lowering(context, builder, signature, arguments):
        lanes = arguments[0].type
        kind = ir.FunctionType(lanes.element, [lanes.element, lanes])
        name = f"llvm.vector.reduce.fadd.v{COUNT}f{value.scalar.bitwidth}"
        function = cgutils.get_or_insert_function(builder.module, kind, name)
        return builder.call(function, [ir.Constant(lanes.element, -0.0), arguments[0]], fastmath=("reassoc",))

    return value.scalar(value), lowering


@intrinsic
def store_cells(typing, array, index, rows, columns, stride):
    """Write the int32 numbers ``rows * stride + columns`` of eight cells that are given as whole floats."""

    def lowering(context, builder, signature, arguments):
        array_value, place, rows, columns, stride = arguments
        whole = ir.VectorType(ir.IntType(32), COUNT)
        numbers = builder.mul(builder.fptosi(rows, whole), builder.fptosi(stride, whole))
        numbers = builder.add(numbers, builder.fptosi(columns, whole))
        target = _address(context, builder, signature.args[0], array_value, place)
        builder.store(numbers, target, align=4)
        return context.get_dummy_value()

    return types.void(array, types.uint64, rows, columns, stride), lowering
