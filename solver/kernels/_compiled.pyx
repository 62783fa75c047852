# cython: boundscheck=False, wraparound=False
"""Compiled kernels: operations with resolved pointers, run in a loop without the interpreter."""

from cpython.buffer cimport PyBUF_STRIDED_RO, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int64_t
from libc.stdlib cimport calloc, free
from libc.string cimport strcmp

cdef extern from "brew.h" nogil:
    enum: BREW_DIMS, BREW_ARRAYS, BREW_INTS, BREW_FLOATS
    ctypedef struct brew_array:
        void *data
        int64_t nd
        int64_t *size
        int64_t *stride
    ctypedef struct brew_op:
        void (*run)(const brew_op *) noexcept nogil
        brew_array *a
        int64_t *i
        double *f
    ctypedef struct brew_entry:
        const char *name
        void (*run)(const brew_op *) noexcept nogil
        const char *roles
    const brew_entry *brew_table_avx512
    const brew_entry *brew_table_avx2
    const brew_entry *brew_table_baseline

cdef extern from *:
    """
    #if defined(__x86_64__) || defined(__i386__)
    static int brew_has_avx512(void) {
        __builtin_cpu_init();
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw")
               && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma");
    }
    static int brew_has_avx2(void) {
        __builtin_cpu_init();
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    }
    #else
    static int brew_has_avx512(void) { return 0; }
    static int brew_has_avx2(void) { return 0; }
    #endif
    """
    int brew_has_avx512() nogil
    int brew_has_avx2() nogil


def supported() -> list[str]:
    """Return the instruction sets this processor can run, the best first."""
    found = []
    if brew_has_avx512():
        found.append("avx512")
    if brew_has_avx2():
        found.append("avx2")
    found.append("baseline")
    return found


cdef const brew_entry *table_of(str isa) except NULL:
    if isa not in supported():
        raise ValueError(f"instruction set '{isa}' does not run here (here: {', '.join(supported())})")
    return brew_table_avx512 if isa == "avx512" else brew_table_avx2 if isa == "avx2" else brew_table_baseline


def kernel_roles() -> dict[str, str | None]:
    """Return how each compiled kernel may be cut over lanes (brew.h), None where it may not."""
    found = {}
    cdef const brew_entry *entry = brew_table_baseline
    while entry.name != NULL:
        found[entry.name.decode()] = entry.roles.decode() if entry.roles != NULL else None
        entry += 1
    return found


def kernel_names() -> list[str]:
    """Return the names of all compiled kernels."""
    return list(kernel_roles())


cdef class Program:
    """A list of operations for one instruction set; holds its arrays alive."""

    cdef brew_op *ops
    cdef int64_t count
    cdef list arrays

    def __cinit__(self, list calls, str isa):
        cdef const brew_entry *entry
        cdef const brew_entry *table = table_of(isa)
        cdef int64_t n = 0
        cdef int arrays, ints, floats
        self.arrays = []
        self.count = len(calls)
        self.ops = <brew_op *>calloc(max(1, len(calls)), sizeof(brew_op))
        if self.ops == NULL:
            raise MemoryError
        for name, arguments in calls:
            entry = table
            encoded = name.encode()
            while entry.name != NULL and strcmp(entry.name, <const char *>encoded) != 0:
                entry += 1
            if entry.name == NULL:
                raise ValueError(f"no compiled kernel '{name}'")
            self.ops[n].run = entry.run
            arrays = ints = floats = 0
            for argument in arguments:
                if isinstance(argument, float):
                    if floats == BREW_FLOATS:
                        raise ValueError(f"too many numbers for '{name}'")
                    self.ops[n].f[floats] = argument
                    floats += 1
                elif isinstance(argument, int):
                    if ints == BREW_INTS:
                        raise ValueError(f"too many integers for '{name}'")
                    self.ops[n].i[ints] = argument
                    ints += 1
                else:
                    if arrays == BREW_ARRAYS:
                        raise ValueError(f"too many arrays for '{name}'")
                    if argument is not None:
                        self.bind(&self.ops[n].a[arrays], argument)
                    arrays += 1
            n += 1

    cdef int bind(self, brew_array *to, array) except -1:
        """Describe one NumPy array; the address stays valid because the array is kept.

        More than 4 axes are seen as one, for kernels that work by element. Strides are the array's own: the buffer protocol makes up those of axes of size 1, but a convolution steps along
        them into the border.
        """
        cdef Py_buffer view
        cdef int d
        cdef tuple strides = array.strides
        PyObject_GetBuffer(array, &view, PyBUF_STRIDED_RO)
        try:
            to.data = view.buf
            if view.ndim > 4:
                if not array.flags.c_contiguous:
                    raise ValueError("arrays of more than 4 axes must lie in C order")
                to.nd, to.size[0], to.stride[0] = 1, array.size, 1
                self.arrays.append(array)
                return 0
            to.nd = view.ndim
            for d in range(view.ndim):
                if strides[d] % view.itemsize:
                    raise ValueError("strides must be whole elements")
                to.size[d] = view.shape[d]
                to.stride[d] = strides[d] // view.itemsize
        finally:
            PyBuffer_Release(&view)
        self.arrays.append(array)
        return 0

    def __len__(self) -> int:
        return self.count

    def run(self, int64_t start=0, int64_t stop=-1) -> None:
        """Run operations start to stop (all of them by default)."""
        cdef int64_t n
        cdef int64_t end = self.count if stop < 0 else stop
        if start < 0 or end > self.count:
            raise IndexError("no such operation")
        with nogil:
            for n in range(start, end):
                self.ops[n].run(&self.ops[n])

    def __dealloc__(self):
        free(self.ops)
