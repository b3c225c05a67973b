"""Gram matrices and their eigenvalues by direct calls of the BLAS and LAPACK that scipy ships.

Why not `numpy.linalg.eigvalsh`: it gives LAPACK the smallest workspace that works, and with that
the reduction to tridiagonal form runs unblocked; with room for blocks it takes half the time. Why
not `scipy.linalg.lapack`: its wrappers hold the interpreter's lock, so that workers take turns.
The functions come from scipy's documented interface for compiled code (`scipy.linalg.cython_blas`
and `cython_lapack`), and ctypes releases the lock around each call.

Arrays are in C order; BLAS reads them by columns, and so sees them transposed. The upper triangle
of a column-major matrix is the lower one of the C array with the same bytes.
"""

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cython_blas, cython_lapack

Real = TypeVar("Real", np.float32, np.float64)

_BLOCK = 64
"""Columns that LAPACK may reduce at a time; above its own choice of 32 nothing is gained."""


def add_gram(matrix: NDArray[Real], gram: NDArray[Real], *, of: Literal["rows", "columns"]) -> None:
    """Add the Gram matrix of the rows or columns of `matrix` to `gram`, in place.

    `matrix` is (m, n): W W^T of (m, m) for its rows, W^T W of (n, n) for its columns; of `gram`
    only the lower triangle is touched, by a symmetric rank-k update. Both are in C order.
    """
    m, n = matrix.shape
    order, rank, trans = (m, n, b"T") if of == "rows" else (n, m, b"N")
    assert gram.shape == (order, order)
    assert matrix.flags.c_contiguous
    assert gram.flags.c_contiguous
    one = np.ones(1, dtype=matrix.dtype)
    _call(
        "syrk", cython_blas, matrix.dtype,
        b"U", trans, order, rank, one, matrix, n, one, gram, order,
    )  # fmt: skip


def eigenvalues(gram: NDArray[Real]) -> NDArray[Real]:
    """The eigenvalues, ascending, of the symmetric matrix in the lower triangle of `gram`.

    `gram` is (p, p) in C order and is overwritten. Householder reduction to tridiagonal form
    (LAPACK sytrd), then the root-free QL or QR iteration (sterf). Raises `LinAlgError` if that
    does not converge.
    """
    p = len(gram)
    diagonal, beside = np.empty(p, gram.dtype), np.empty(max(p - 1, 1), gram.dtype)
    reflectors, work = np.empty_like(beside), np.empty(_BLOCK * p, gram.dtype)
    info = ctypes.c_int(0)
    _call(
        "sytrd", cython_lapack, gram.dtype,
        b"U", p, gram, p, diagonal, beside, reflectors, work, work.size, info,
    )  # fmt: skip
    assert info.value == 0, f"argument {-info.value} of sytrd"
    _call("sterf", cython_lapack, gram.dtype, p, diagonal, beside, info)
    if info.value != 0:
        raise np.linalg.LinAlgError(f"{info.value} eigenvalues did not converge")
    return diagonal


def _call(name: str, module: Any, dtype: np.dtype[Any], *arguments: Any) -> None:
    """Call the routine of that name for `dtype`; every argument goes by reference."""
    letter = {np.dtype(np.float32): "s", np.dtype(np.float64): "d"}[dtype]
    keep = [_reference(argument) for argument in arguments]
    _routine(module, letter + name, len(keep))(*keep)


def _reference(argument: Any) -> Any:
    if isinstance(argument, np.ndarray):
        return ctypes.c_void_p(argument.ctypes.data)
    if isinstance(argument, bytes):
        return ctypes.c_char_p(argument)
    if isinstance(argument, int):
        return ctypes.byref(ctypes.c_int(argument))
    return ctypes.byref(argument)


@cache
def _routine(module: Any, name: str, num_arguments: int) -> Callable[..., None]:
    """The routine behind a name of scipy's interface for compiled code."""
    capsule = module.__pyx_capi__[name]
    get_name, get_pointer = (
        ctypes.pythonapi.PyCapsule_GetName,
        ctypes.pythonapi.PyCapsule_GetPointer,
    )
    get_name.restype, get_name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    get_pointer.restype, get_pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    address = get_pointer(capsule, get_name(capsule))
    # CFUNCTYPE releases the interpreter's lock during the call.
    return ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * num_arguments)(address)
