/* Kernels for avx2. */
#define ISA avx2
#define VL 8
#define MR 6
#define TARGET "avx2,fma"
#include "isa.h"
