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

cdef extern from "share.h" nogil:
    ctypedef struct brew_share:
        const brew_op *ops
        const char *wait
        int64_t count, start, stop
        int lanes
    void brew_run(brew_share *)
    void lanes_pin(int count, const int *cpus)
    enum: LANES_MOST

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


def pin(list cpus) -> None:
    """Pin lane n of all programs to cpus[n], lane 0 being the calling thread; none: let lanes share cores and sleep."""
    cdef int places[LANES_MOST]
    cdef int n
    if len(cpus) > LANES_MOST:
        raise ValueError(f"more than {LANES_MOST} lanes")
    for n, cpu in enumerate(cpus):
        places[n] = cpu
    n = len(cpus)
    with nogil:
        lanes_pin(n, places)


cdef class Program:
    """A list of operations for one instruction set, for each lane; holds its arrays alive.

    ``lanes`` holds the calls of each lane, with None where one has nothing to do; ``wait`` says before which operations
    lanes wait for each other.
    """

    cdef brew_op *ops
    cdef int64_t count
    cdef int lanes
    cdef bytes wait
    cdef list arrays, shared

    def __cinit__(self, list lanes, str isa, list wait=None):
        cdef const brew_entry *table = table_of(isa)
        cdef int64_t n
        cdef int lane
        self.arrays = []
        self.lanes = len(lanes)
        self.count = len(lanes[0])
        self.wait = bytes(self.count) if wait is None else bytes(wait)
        self.shared = [0]  # operations before each one that lanes beyond the first take part in
        for n in range(self.count):
            self.shared.append(self.shared[n] + any(calls[n] is not None for calls in lanes[1:]))
        self.ops = <brew_op *>calloc(max(1, self.lanes * self.count), sizeof(brew_op))
        if self.ops == NULL:
            raise MemoryError
        for lane in range(self.lanes):
            for n in range(self.count):
                if lanes[lane][n] is not None:
                    name, arguments = lanes[lane][n]
                    self.write(&self.ops[lane * self.count + n], table, name, arguments)

    cdef int write(self, brew_op *op, const brew_entry *entry, str name, tuple arguments) except -1:
        """Fill in one operation."""
        cdef int arrays = 0, ints = 0, floats = 0
        encoded = name.encode()
        while entry.name != NULL and strcmp(entry.name, <const char *>encoded) != 0:
            entry += 1
        if entry.name == NULL:
            raise ValueError(f"no compiled kernel '{name}'")
        op.run = entry.run
        for argument in arguments:
            if isinstance(argument, float):
                if floats == BREW_FLOATS:
                    raise ValueError(f"too many numbers for '{name}'")
                op.f[floats] = argument
                floats += 1
            elif isinstance(argument, int):
                if ints == BREW_INTS:
                    raise ValueError(f"too many integers for '{name}'")
                op.i[ints] = argument
                ints += 1
            else:
                if arrays == BREW_ARRAYS:
                    raise ValueError(f"too many arrays for '{name}'")
                if argument is not None:
                    self.bind(&op.a[arrays], argument)
                arrays += 1
        return 0

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
        cdef int64_t end = self.count if stop < 0 else stop
        if start < 0 or end > self.count:
            raise IndexError("no such operation")
        if start >= end:
            return
        cdef int lanes = self.lanes if self.shared[end] > self.shared[start] else 1
        cdef brew_share share = brew_share(self.ops, <const char *>self.wait, self.count, start, end, lanes)
        with nogil:
            brew_run(&share)

    def __dealloc__(self):
        free(self.ops)
