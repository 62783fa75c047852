/* Kernels for avx512. */
#define ISA avx512
#define VL 16
#define MR 14
#define TARGET "avx512f,avx512dq,avx512bw,avx512vl,avx2,fma"
#include "isa.h"
