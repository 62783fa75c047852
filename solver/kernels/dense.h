/* Matrix products of InnerProduct, sums over a batch, and moving data between layouts. */

/* y = x w^T + bias. a: x (m, k), w (n, k) stored [k][n], bias or none, y (m, n). */
static void dense_forward(const brew_op *op) {
    const gemm_args g = {.ns = 1, .nt = 1, .k = SIZE(0, 1), .a = F(0), .b = F(1), .am = STRIDE(0, 0), .ak = 1,
                         .ldb = STRIDE(1, 1), .c = F(3), .ldc = STRIDE(3, 0), .ldn = 1,
                         .mode = F(2) ? GEMM_BIAS : GEMM_SET, .bias = F(2)};
    gemm(SIZE(0, 0), SIZE(1, 0), &g, 0);
}

/* dw += dy^T x, in doubles. a: x (m, k), dy (m, n), dw (n, k) stored [k][n]. */
static void dense_backward_weight(const brew_op *op) {
    outer_products(SIZE(0, 0), SIZE(0, 1), SIZE(2, 0), F(0), STRIDE(0, 0), 1, F(1), STRIDE(1, 0), F64(2), STRIDE(2, 1),
                   1);
}

/* The axes of an array in the order in which it lies in memory, padded to four: 4-D pictures as n, h, w, c. */
typedef struct { int64_t size[4], at[4]; } axes4;

AI axes4 order4(const brew_array *a, int64_t nd) {
    static const int picture[4] = {0, 2, 3, 1};
    axes4 r = {{1, 1, 1, 1}, {0, 0, 0, 0}};
    for (int64_t d = 0; d < nd; d++) {
        const int64_t from = nd == 4 ? picture[d] : d, to = d + 4 - nd;
        r.size[to] = a->size[from];
        r.at[to] = a->stride[from];
    }
    return r;
}

/* Run BODY for every row of up to three arrays alike in shape; within it, p0, p1, p2 point to the row's first element,
 * s0, s1, s2 are the steps along it and `len` its length. A row is a line of the picture where all three arrays hold it
 * without gaps (FOR_ROWS), or else, and always in FOR_PIXELS, the channels of one pixel. */
AI int in_line(const axes4 *a, int64_t channels) { return a->at[2] == channels * a->at[3]; }

#define LOOP_ROWS(k0, k1, k2, JOIN, BODY)                                                                      \
    do {                                                                                                       \
        axes4 x0 = order4(&op->a[k0], op->a[k0].nd), x1 = order4(&op->a[k1], op->a[k0].nd),                    \
              x2 = order4(&op->a[k2], op->a[k0].nd);                                                           \
        if (JOIN && in_line(&x0, x0.size[3]) && in_line(&x1, x0.size[3]) && in_line(&x2, x0.size[3])) {        \
            x0.size[3] *= x0.size[2];                                                                          \
            x0.size[2] = 1;                                                                                    \
        }                                                                                                      \
        const int64_t s0 = x0.at[3], s1 = x1.at[3], s2 = x2.at[3], len = x0.size[3];                           \
        for (int64_t u0 = 0; u0 < x0.size[0]; u0++)                                                            \
            for (int64_t u1 = 0; u1 < x0.size[1]; u1++)                                                        \
                for (int64_t u2 = 0; u2 < x0.size[2]; u2++) {                                                  \
                    float *p0 = F(k0) + u0 * x0.at[0] + u1 * x0.at[1] + u2 * x0.at[2];                         \
                    float *p1 = F(k1) + u0 * x1.at[0] + u1 * x1.at[1] + u2 * x1.at[2];                         \
                    float *p2 = F(k2) + u0 * x2.at[0] + u1 * x2.at[1] + u2 * x2.at[2];                         \
                    (void)p0, (void)p1, (void)p2, (void)s0, (void)s1, (void)s2;                                \
                    BODY                                                                                       \
                }                                                                                              \
    } while (0)
#define FOR_ROWS(k0, k1, k2, BODY) LOOP_ROWS(k0, k1, k2, 1, BODY)
#define FOR_PIXELS(k0, k1, k2, BODY) LOOP_ROWS(k0, k1, k2, 0, BODY)

/* db += sum of dy over all axes but the channels (axis 1, or the last of a matrix). a: dy, db.
 * Summed in doubles for each sample, so that the result hardly depends on how a batch is cut. */
static void bias_backward(const brew_op *op) {
    enum { BLOCK = 64 };
    const axes4 x = order4(&op->a[0], op->a[0].nd);
    const int64_t channels = x.size[3], samples = op->a[0].nd == 4 ? x.size[0] : 1;
    const int64_t rows = op->a[0].nd == 4 ? x.size[1] : x.size[0] * x.size[1];
    double *db = F64(1);
    for (int64_t first = 0; first < channels; first += BLOCK)
        for (int64_t n = 0; n < samples; n++) {
            const int64_t block = BREW_MIN(BLOCK, channels - first);
            double sum[BLOCK] = {0};
            for (int64_t r = 0; r < rows; r++)
                for (int64_t q = 0; q < x.size[2]; q++) {
                    const float *dy = F(0) + n * x.at[0] + r * x.at[1] + q * x.at[2] + first * x.at[3];
                    for (int64_t c = 0; c < block; c++) sum[c] += dy[c * x.at[3]];
                }
            for (int64_t c = 0; c < block; c++) db[first + c] += sum[c];
        }
}

/* y = x, layouts apart. a: x, y of one shape. */
static void copy(const brew_op *op) {
    if (op->a[0].nd == 2 && STRIDE(0, 0) == 1 && STRIDE(1, 1) == 1 && STRIDE(0, 1) != 1) {
        transpose(SIZE(0, 1), SIZE(0, 0), F(0), STRIDE(0, 1), F(1), STRIDE(1, 0));
        return;
    }
    FOR_ROWS(0, 1, 1, {
        if (s0 == 1 && s1 == 1) memcpy(p1, p0, (size_t)len * sizeof(float));
        else for (int64_t c = 0; c < len; c++) p1[c * s1] = p0[c * s0];
    });
}

/* y += x. a: x, y of one shape. */
static void add(const brew_op *op) {
    FOR_ROWS(0, 1, 1, {
        if (s0 == 1 && s1 == 1) for (int64_t c = 0; c < len; c++) p1[c] += p0[c];
        else for (int64_t c = 0; c < len; c++) p1[c * s1] += p0[c * s0];
    });
}

/* y = a number. a: y; f: the number. */
static void fill(const brew_op *op) {
    const float value = (float)op->f[0];
    FOR_ROWS(0, 0, 0, { for (int64_t c = 0; c < len; c++) p0[c * s0] = value; });
}
