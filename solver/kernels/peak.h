/* What this processor can do at most: loops that do nothing but multiply-adds, reads, or reads and writes. The caller
 * times them. */

/* v = 0.999 v + 1e-6, `rounds` times: 2 operations an element and round. a: v (a multiple of 192, in C order). i: rounds.
 * Twelve independent vectors cover the latency of a multiply-add on all ports and leave two registers of sixteen. */
static void peak_multiply_add(const brew_op *op) {
    enum { VECTORS = 12 };
    const vf scale = (vf){0} + 0.999f, shift = (vf){0} + 1e-6f;
    for (int64_t first = 0; first + VECTORS * VL <= SIZE(0, 0); first += VECTORS * VL) {
        vf *at = (vf *)(F(0) + first), v[VECTORS];
        for (int m = 0; m < VECTORS; m++) v[m] = at[m];
        for (int64_t r = 0; r < op->i[0]; r++) {
#pragma GCC unroll 12
            for (int m = 0; m < VECTORS; m++) v[m] = v[m] * scale + shift;
        }
        for (int m = 0; m < VECTORS; m++) at[m] = v[m];
    }
}

/* total[0] += sum of x, `rounds` times. a: x (a multiple of 64, in C order), total (1). i: rounds. */
static void peak_read(const brew_op *op) {
    enum { VECTORS = 4 };
    vf sum[VECTORS] = {{0}};
    for (int64_t r = 0; r < op->i[0]; r++) {
        for (int64_t j = 0; j < SIZE(0, 0); j += VECTORS * VL) {
#pragma GCC unroll 4
            for (int m = 0; m < VECTORS; m++) sum[m] += *(const vf *)(F(0) + j + m * VL);
        }
        __asm__ volatile("" ::: "memory"); /* each round reads anew */
    }
    for (int m = 0; m < VECTORS; m++)
        for (int c = 0; c < VL; c++) *F(1) += sum[m][c];
}

/* y = 0.999 x, `rounds` times. a: x, y (a multiple of 64, in C order). i: rounds. */
static void peak_copy(const brew_op *op) {
    enum { VECTORS = 4 };
    const vf scale = (vf){0} + 0.999f;
    for (int64_t r = 0; r < op->i[0]; r++) {
        for (int64_t j = 0; j < SIZE(0, 0); j += VECTORS * VL) {
#pragma GCC unroll 4
            for (int m = 0; m < VECTORS; m++) *(vf *)(F(1) + j + m * VL) = *(const vf *)(F(0) + j + m * VL) * scale;
        }
        __asm__ volatile("" ::: "memory");
    }
}
