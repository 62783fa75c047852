/* The one building block: C[m][n] (+)= sum_b sum_k A[aoff[b] + m*am + k*ak] * B[boff[b] + k*ldb + n]
 * ("batch-reduce GEMM": Georganas et al., High-Performance Deep Learning via a Single Building Block, 2019), with a
 * register block of up to MR rows by 2 vectors of VL columns. Columns past n are computed from whatever lies behind B
 * (every buffer ends in slack) and never stored. */
typedef float vf __attribute__((vector_size(4 * VL), aligned(4), may_alias));

enum { GEMM_SET, GEMM_ADD, GEMM_BIAS };

typedef struct {
    int64_t nb, k;             /* how many (A, B) pairs, and the length of the inner sum of each */
    const int64_t *aoff, *boff;
    const float *a, *b;
    int64_t am, ak, ldb;
    float *c;                  /* receives the product, or the product plus bias[n] (GEMM_BIAS) */
    double *sum;               /* GEMM_ADD: what the product is added to instead */
    int64_t ldc;
    int mode;
    const float *bias;
} gemm_args;

AI vf load_part(const float *p, int64_t n) {
    float t[VL] = {0};
    memcpy(t, p, (size_t)n * sizeof(float));
    return *(vf *)t;
}

AI void store_part(float *p, vf v, int64_t n) { memcpy(p, &v, (size_t)n * sizeof(float)); }

/* cols is the number of columns wanted: nv*VL of them, or fewer where `part` says the last vector is cut. */
AI void micro(const int mr, const int nv, const int part, int64_t cols, const gemm_args *g, const float *a0,
              const float *b0, int64_t at, const float *bias) {
    vf c0[MR], c1[MR];
    const int64_t last = cols - (nv - 1) * VL;
#pragma GCC unroll 16
    for (int m = 0; m < mr; m++) {
        if (g->mode != GEMM_BIAS) {
            c0[m] = (vf){0};
            if (nv == 2) c1[m] = (vf){0};
        } else if (nv == 2) {
            c0[m] = *(const vf *)bias;
            c1[m] = part ? load_part(bias + VL, last) : *(const vf *)(bias + VL);
        } else {
            c0[m] = part ? load_part(bias, last) : *(const vf *)bias;
        }
    }
    const int64_t am = g->am, ak = g->ak, ldb = g->ldb, k_end = g->k;
    for (int64_t t = 0; t < g->nb; t++) {
        const float *a = a0 + g->aoff[t], *b = b0 + g->boff[t];
        for (int64_t k = 0; k < k_end; k++, a += ak, b += ldb) {
            const vf w0 = *(const vf *)b;
            vf w1 = w0;
            if (nv == 2) w1 = *(const vf *)(b + VL);
#pragma GCC unroll 16
            for (int m = 0; m < mr; m++) {
                const float s = a[m * am];
                c0[m] += s * w0;
                if (nv == 2) c1[m] += s * w1;
            }
        }
    }
#pragma GCC unroll 16
    for (int m = 0; m < mr; m++) {
        if (g->mode == GEMM_ADD) {
            /* In doubles, and only now: the terms themselves are summed from zero, so that a picture adds the same bits
             * whatever has been added before it, and the total hardly depends on how a batch is cut. */
            float row[2 * VL];
            double *to = g->sum + at + m * g->ldc;
            *(vf *)row = c0[m];
            *(vf *)(row + VL) = nv == 2 ? c1[m] : c0[m];
            for (int64_t n = 0; n < cols; n++) to[n] += row[n];
            continue;
        }
        float *to = g->c + at + m * g->ldc;
        if (nv == 2) {
            *(vf *)to = c0[m];
            if (part) store_part(to + VL, c1[m], last);
            else *(vf *)(to + VL) = c1[m];
        } else {
            if (part) store_part(to, c0[m], last);
            else *(vf *)to = c0[m];
        }
    }
}

typedef void (*micro_fn)(int64_t, const gemm_args *, const float *, const float *, int64_t, const float *);

#define MICRO(mr, nv, part)                                                                                            \
    static __attribute__((noinline)) void micro_##mr##_##nv##_##part(int64_t cols, const gemm_args *g, const float *a, \
                                                                     const float *b, int64_t at, const float *bias) { \
        micro(mr, nv, part, cols, g, a, b, at, bias);                                                                 \
    }
#define MICROS(mr) MICRO(mr, 1, 0) MICRO(mr, 1, 1) MICRO(mr, 2, 0) MICRO(mr, 2, 1)
#define ROW(mr) {micro_##mr##_1_0, micro_##mr##_1_1, micro_##mr##_2_0, micro_##mr##_2_1}
MICROS(1) MICROS(2) MICROS(3) MICROS(4) MICROS(5) MICROS(6)
#if MR > 6
MICROS(7) MICROS(8) MICROS(9) MICROS(10) MICROS(11) MICROS(12) MICROS(13) MICROS(14)
#endif
static const micro_fn MICRO_TABLE[MR + 1][4] = {
    {0, 0, 0, 0}, ROW(1), ROW(2), ROW(3), ROW(4), ROW(5), ROW(6),
#if MR > 6
    ROW(7), ROW(8), ROW(9), ROW(10), ROW(11), ROW(12), ROW(13), ROW(14),
#endif
};

/* m rows of one column block; the rows are cut into panels of nearly equal height. */
AI void gemm_block(int64_t m, int64_t cols, const gemm_args *g, const float *a, const float *b, int64_t at,
                   const float *bias) {
    const int two = cols > VL, part = cols % VL != 0;
    int64_t panels = (m + MR - 1) / MR, row = 0;
    for (; panels > 0; panels--) {
        const int64_t rows = (m - row + panels - 1) / panels;
        MICRO_TABLE[rows][2 * two + part](cols, g, a + row * g->am, b, at + row * g->ldc, bias);
        row += rows;
    }
}

/* All m rows and n columns, to the place `at` of the result. */
static void gemm(int64_t m, int64_t n, const gemm_args *g, int64_t at) {
    for (int64_t col = 0; col < n; col += 2 * VL)
        gemm_block(m, BREW_MIN(n - col, 2 * VL), g, g->a, g->b + col, at + col, g->bias ? g->bias + col : 0);
}
