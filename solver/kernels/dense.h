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

/* db += sum of dy over all axes but the channels (axis 1, or the last of a matrix). a: dy, db. */
static void bias_backward(const brew_op *op) {
    const pictures dy = pictures_of(&op->a[0]);
    for (int64_t n = 0; n < dy.count; n++) picture_sums(SUM, &dy, 0, n, 0, 0, dy.channels, F64(1), 0);
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

/* A gradient is added to another and set to 0. a: mine, theirs (doubles of one shape). */
static void move_gradient(const brew_op *op) {
    FOR_ROWS(0, 1, 1, {
        double *mine = F64(0) + (p0 - F(0));
        double *theirs = F64(1) + (p1 - F(1));
        for (int64_t c = 0; c < len; c++) {
            theirs[c * s1] += mine[c * s0];
            mine[c * s0] = 0;
        }
    });
}

/* All sums are set to 0. a: sums (doubles that lie behind each other). */
static void clear_sums(const brew_op *op) { memset(F64(0), 0, (size_t)SIZE(0, 0) * sizeof(double)); }
