/* Kernels for baseline. */
#define ISA baseline
#define VL 4
#define MR 6
#include "isa.h"
