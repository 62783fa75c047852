/* The one building block: C[m][n] (+)= sum_s sum_t sum_k A[s*as + t*at + m*am + k*ak] * B[s*bs + t*bt + k*ldb + n]
 * ("batch-reduce GEMM": Georganas et al., High-Performance Deep Learning via a Single Building Block, 2019), with a
 * register block of up to MR rows by 2 vectors of VL columns. Columns past n are computed from whatever lies behind B
 * (every buffer ends in slack) and never stored. */
typedef float vf __attribute__((vector_size(4 * VL), aligned(4), may_alias));
typedef float hf __attribute__((vector_size(2 * VL), aligned(4), may_alias)); /* as doubles, a whole vector */
typedef double vd __attribute__((vector_size(4 * VL), aligned(8), may_alias));
#if VL == 16
#define LOW_HALF 0, 1, 2, 3, 4, 5, 6, 7
#define HIGH_HALF 8, 9, 10, 11, 12, 13, 14, 15
#elif VL == 8
#define LOW_HALF 0, 1, 2, 3
#define HIGH_HALF 4, 5, 6, 7
#else
#define LOW_HALF 0, 1
#define HIGH_HALF 2, 3
#endif

/* to[0 .. VL) += x, in doubles. */
AI void add_vector(double *to, vf x) {
    *(vd *)to += __builtin_convertvector((hf)__builtin_shufflevector(x, x, LOW_HALF), vd);
    *(vd *)(to + VL / 2) += __builtin_convertvector((hf)__builtin_shufflevector(x, x, HIGH_HALF), vd);
}

enum { GEMM_SET, GEMM_ADD, GEMM_BIAS };

typedef struct {
    int64_t ns, nt, k;         /* lengths of the three sums */
    const float *a, *b;
    int64_t as, at, ak, am;    /* steps of A along the sums and from row to row */
    int64_t bs, bt, ldb;       /* steps of B along the sums */
    float *c;                  /* receives the product, or the product plus bias[n] (GEMM_BIAS) */
    double *sum;               /* GEMM_ADD: what the product is added to instead */
    int64_t ldc, ldn;          /* step from row to row; GEMM_ADD: from column to column */
    int64_t times, ai, bi;     /* GEMM_ADD: so many products are added, with steps of A and B between them */
    int mode;
    const float *bias;
} gemm_args;

/* The first n <= VL of a vector, in pieces of 1, 2, 4, ...: a copy of any length would be a call. */
#define PART(n, MOVE)                                                    \
    do {                                                                 \
        int64_t done = 0;                                                \
        if ((n) & VL) { MOVE(VL); break; }                               \
        if (VL > 8 && (n) & 8) { MOVE(8); done += 8; }                   \
        if (VL > 4 && (n) & 4) { MOVE(4); done += 4; }                   \
        if ((n) & 2) { MOVE(2); done += 2; }                             \
        if ((n) & 1) MOVE(1);                                            \
    } while (0)

AI vf load_part(const float *p, int64_t n) {
    float t[VL] = {0};
#define MOVE(k) memcpy(t + done, p + done, (k) * sizeof(float))
    PART(n, MOVE);
#undef MOVE
    return *(vf *)t;
}

AI void store_part(float *p, vf v, int64_t n) {
    float t[VL];
    *(vf *)t = v;
#define MOVE(k) memcpy(p + done, t + done, (k) * sizeof(float))
    PART(n, MOVE);
#undef MOVE
}

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
    /* The two inner sums are one loop, whose end is so rarely met that the processor need not guess it. */
    const int64_t am = g->am, ak = g->ak, ldb = g->ldb, skip_a = g->as - g->k * ak, skip_b = g->bs - g->k * ldb;
    for (int64_t t = 0; t < g->nt; t++) {
        const float *a = a0 + t * g->at, *b = b0 + t * g->bt;
        int64_t left = g->k;
        for (int64_t step = g->ns * g->k; step > 0; step--) {
            const vf w0 = *(const vf *)b;
            vf w1 = w0;
            if (nv == 2) w1 = *(const vf *)(b + VL);
#pragma GCC unroll 16
            for (int m = 0; m < mr; m++) {
                const float x = a[m * am];
                c0[m] += x * w0;
                if (nv == 2) c1[m] += x * w1;
            }
            const int64_t over = --left == 0;
            a += ak + (over ? skip_a : 0);
            b += ldb + (over ? skip_b : 0);
            left = over ? g->k : left;
        }
    }
#pragma GCC unroll 16
    for (int m = 0; m < mr; m++) {
        if (g->mode == GEMM_ADD) {
            /* In doubles, and only now: the terms themselves are summed from zero, so that a picture adds the same bits
             * whatever has been added before it, and the total hardly depends on how a batch is cut. */
            float row[2 * VL];
            double *to = g->sum + at + m * g->ldc;
            if (!part && g->ldn == 1) {
                add_vector(to, c0[m]);
                if (nv == 2) add_vector(to + VL, c1[m]);
                continue;
            }
            *(vf *)row = c0[m];
            *(vf *)(row + VL) = nv == 2 ? c1[m] : c0[m];
            if (g->ldn == 1) for (int64_t n = 0; n < cols; n++) to[n] += row[n];
            else for (int64_t n = 0; n < cols; n++) to[n * g->ldn] += row[n];
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

/* sum[m][n] += sum_i a[i*ai + m*am] * b[i*bi + n] in doubles, in which the product of two floats is exact: a sum over
 * samples so hardly depends on how a batch is cut. Blocks of both sides are turned into doubles once. */
enum { OUTER_ROWS = VL == 16 ? 6 : 2, OUTER_COLS = 2 * VL, OUTER_TIMES = 32, OUTER_WIDTH = 512 };

AI void outer_rows(const int rows, int64_t times, int64_t cols, const double *a, const double *b, double *sum,
                   int64_t ldm, int64_t ldn) {
    vd part[OUTER_ROWS][4];
#pragma GCC unroll 8
    for (int m = 0; m < rows; m++)
#pragma GCC unroll 4
        for (int n = 0; n < 4; n++) part[m][n] = (vd){0};
    for (int64_t i = 0; i < times; i++, a += OUTER_ROWS, b += OUTER_COLS)
#pragma GCC unroll 8
        for (int m = 0; m < rows; m++)
#pragma GCC unroll 4
            for (int n = 0; n < 4; n++) part[m][n] += a[m] * *(const vd *)(b + n * VL / 2);
#pragma GCC unroll 8
    for (int m = 0; m < rows; m++) {
        if (cols == OUTER_COLS && ldn == 1) {
#pragma GCC unroll 4
            for (int n = 0; n < 4; n++) *(vd *)(sum + m * ldm + n * VL / 2) += part[m][n];
            continue;
        }
        double row[OUTER_COLS];
#pragma GCC unroll 4
        for (int n = 0; n < 4; n++) *(vd *)(row + n * VL / 2) = part[m][n];
        for (int64_t n = 0; n < cols; n++) sum[m * ldm + n * ldn] += row[n];
    }
}

static void outer_block(int64_t times, int64_t rows, int64_t cols, const float *a, int64_t ai, int64_t am,
                        const float *b, int64_t bi, double *sum, int64_t ldm, int64_t ldn) {
    double left[OUTER_TIMES * OUTER_ROWS], right[OUTER_TIMES * OUTER_WIDTH];
    for (int64_t n = 0; n < cols; n += OUTER_COLS)
        for (int64_t i = 0; i < times; i++)
            for (int64_t j = 0; j < OUTER_COLS; j++)
                right[n * times + i * OUTER_COLS + j] = n + j < cols ? b[i * bi + n + j] : 0;
    for (int64_t m = 0; m < rows; m += OUTER_ROWS) {
        const int64_t high = BREW_MIN(rows - m, OUTER_ROWS);
        for (int64_t i = 0; i < times; i++)
            for (int64_t j = 0; j < high; j++) left[i * OUTER_ROWS + j] = a[i * ai + (m + j) * am];
        for (int64_t n = 0; n < cols; n += OUTER_COLS) {
            double *to = sum + m * ldm + n * ldn;
            const int64_t wide = BREW_MIN(cols - n, OUTER_COLS);
            if (high == OUTER_ROWS) outer_rows(OUTER_ROWS, times, wide, left, right + n * times, to, ldm, ldn);
            else for (int64_t j = 0; j < high; j++)
                outer_rows(1, times, wide, left + j, right + n * times, to + j * ldm, ldm, ldn);
        }
    }
}

static void outer_products(int64_t times, int64_t rows, int64_t cols, const float *a, int64_t ai, int64_t am,
                           const float *b, int64_t bi, double *sum, int64_t ldm, int64_t ldn) {
    for (int64_t i = 0; i < times; i += OUTER_TIMES)
        for (int64_t n = 0; n < cols; n += OUTER_WIDTH)
            outer_block(BREW_MIN(times - i, OUTER_TIMES), rows, BREW_MIN(cols - n, OUTER_WIDTH), a + i * ai, ai, am,
                        b + i * bi + n, bi, sum + n * ldn, ldm, ldn);
}

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

/* Add `times` products, the sum of which is formed before it goes to where it belongs, far apart in memory. The product
 * of one sample is made for many rows before that of the next, so that what it reads stays in the first cache. */
static void gemm_times(int64_t m, int64_t cols, const gemm_args *g, const float *b, int64_t at) {
    enum { ROWS = 12 * MR };
    double sum[ROWS * 2 * VL];
    gemm_args each = *g;
    each.sum = sum, each.ldc = 2 * VL, each.ldn = 1;
    for (int64_t row = 0; row < m; row += ROWS) {
        const int64_t rows = BREW_MIN(m - row, ROWS);
        memset(sum, 0, (size_t)(rows * 2 * VL) * sizeof(double));
        for (int64_t i = 0; i < g->times; i++)
            gemm_block(rows, cols, &each, g->a + row * g->am + i * g->ai, b + i * g->bi, 0, 0);
        for (int64_t r = 0; r < rows; r++)
            for (int64_t n = 0; n < cols; n++) g->sum[at + (row + r) * g->ldc + n * g->ldn] += sum[r * 2 * VL + n];
    }
}

/* All m rows and n columns, to the place `at` of the result. */
static void gemm(int64_t m, int64_t n, const gemm_args *g, int64_t at) {
    if (g->mode == GEMM_ADD && g->ns * g->nt * g->k == 1) {
        outer_products(g->times, m, n, g->a, g->ai, g->am, g->b, g->bi, g->sum + at, g->ldc, g->ldn);
        return;
    }
    for (int64_t col = 0; col < n; col += 2 * VL) {
        const int64_t cols = BREW_MIN(n - col, 2 * VL);
        if (g->times > 1) gemm_times(m, cols, g, g->b + col, at + col * g->ldn);
        else gemm_block(m, cols, g, g->a, g->b + col, at + col * g->ldn, g->bias ? g->bias + col : 0);
    }
}
