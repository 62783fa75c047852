/* Local response normalisation. */

/* scale^-beta, for the usual beta without a call. */
AI float power_of(const int usual, float scale, float beta) {
    return usual ? 1.0f / (sqrtf(scale) * sqrtf(sqrtf(scale))) : powf(scale, -beta);
}

/* y = x scale^-beta. */
AI void normal_row(float *y, const float *x, const float *scale, float beta, int64_t len) {
    if (beta == 0.75f) for (int64_t c = 0; c < len; c++) y[c] = x[c] * power_of(1, scale[c], beta);
    else for (int64_t c = 0; c < len; c++) y[c] = x[c] * power_of(0, scale[c], beta);
}

/* dx = dy scale^-beta - slope x sum, the sums being in dx. */
AI void gradient_row(float *dx, const float *x, const float *scale, const float *dy, float slope, float beta,
                     int64_t len) {
    if (beta == 0.75f)
        for (int64_t c = 0; c < len; c++) dx[c] = power_of(1, scale[c], beta) * dy[c] - slope * x[c] * dx[c];
    else
        for (int64_t c = 0; c < len; c++) dx[c] = power_of(0, scale[c], beta) * dy[c] - slope * x[c] * dx[c];
}

/* The sums of x or, `squared`, of x^2 over the channels up to `half` away from each. */
AI void sum_across(const int squared, float *sum, const float *x, int64_t half, int64_t len) {
    for (int64_t c = 0; c < len; c++) sum[c] = 0;
    for (int64_t j = -BREW_MIN(half, len - 1); j <= BREW_MIN(half, len - 1); j++)
        for (int64_t c = BREW_MAX(0, -j); c < BREW_MIN(len, len - j); c++)
            sum[c] += squared ? x[c + j] * x[c + j] : x[c + j];
}

/* a: x, y, scale; i: size; f: alpha, beta, k. scale_c = k + alpha/size * sum over channels near c of x^2. */
static void lrn_across_forward(const brew_op *op) {
    const int64_t half = (op->i[0] - 1) / 2;
    const float slope = (float)(op->f[0] / (double)op->i[0]), beta = (float)op->f[1], k = (float)op->f[2];
    FOR_PIXELS(0, 1, 2, {
        sum_across(1, p2, p0, half, len);
        for (int64_t c = 0; c < len; c++) p2[c] = k + slope * p2[c];
        normal_row(p1, p0, p2, beta, len);
    });
}

/* a: x, y, scale, dy, dx, ratio (scratch); i: size; f: alpha, beta. */
static void lrn_across_backward(const brew_op *op) {
    const int64_t half = (op->i[0] - 1) / 2;
    const float beta = (float)op->f[1], slope = (float)(2.0 * op->f[0] * op->f[1] / (double)op->i[0]);
    FOR_PIXELS(1, 2, 3, {
        float *ratio = F(5) + u0 * STRIDE(5, 0) + u1 * STRIDE(5, 2) + u2 * STRIDE(5, 3);
        for (int64_t c = 0; c < len; c++) ratio[c] = p2[c] * p0[c] / p1[c];
    });
    FOR_PIXELS(0, 2, 4, {
        const float *ratio = F(5) + u0 * STRIDE(5, 0) + u1 * STRIDE(5, 2) + u2 * STRIDE(5, 3);
        const float *dy = F(3) + u0 * STRIDE(3, 0) + u1 * STRIDE(3, 2) + u2 * STRIDE(3, 3);
        sum_across(0, p2, ratio, half, len);
        gradient_row(p2, p0, p1, dy, slope, beta, len);
    });
}

AI void add_near(const int squared, vf *sum, const float *x) {
    const vf v = *(const vf *)x;
    if (squared) *sum += v * v;
    else *sum += v;
}

/* The sum over the size x size pixels around (u1, u2) of one vector of channels, of x or, `squared`, of x^2. */
AI vf near_sum(const int squared, const brew_op *op, int k, int64_t u0, int64_t u1, int64_t u2, int64_t c) {
    const int64_t half = (op->i[0] - 1) / 2, line = STRIDE(k, 2), pixel = STRIDE(k, 3);
    const int64_t row = BREW_MAX(u1 - half, 0), rows = BREW_MIN(u1 + half + 1, SIZE(0, 2)) - row;
    const int64_t col = BREW_MAX(u2 - half, 0), cols = BREW_MIN(u2 + half + 1, SIZE(0, 3)) - col;
    const float *x = F(k) + u0 * STRIDE(k, 0) + row * line + col * pixel + c;
    vf sum = {0};
    if (rows == 3 && cols == 3) { /* the usual size */
#pragma GCC unroll 9
        for (int n = 0; n < 9; n++) add_near(squared, &sum, x + n / 3 * line + n % 3 * pixel);
    } else {
        for (int64_t r = 0; r < rows; r++)
            for (int64_t q = 0; q < cols; q++) add_near(squared, &sum, x + r * line + q * pixel);
    }
    return sum;
}

/* As lrn_across, over a size x size window of the same channel, without k: scale = 1 + alpha/size^2 * sum x^2. */
static void lrn_within_forward(const brew_op *op) {
    const int64_t channels = SIZE(0, 1), area = op->i[0] * op->i[0];
    const float slope = (float)(op->f[0] / (double)area), beta = (float)op->f[1];
    FOR_PIXELS(0, 1, 2, {
        EACH_LANE put(p2 + c, 1.0f + slope * near_sum(1, op, 0, u0, u1, u2, c), channels);
        normal_row(p1, p0, p2, beta, len);
    });
}

static void lrn_within_backward(const brew_op *op) {
    const int64_t channels = SIZE(0, 1), area = op->i[0] * op->i[0];
    const float beta = (float)op->f[1], slope = (float)(2.0 * op->f[0] * op->f[1] / (double)area);
    FOR_PIXELS(1, 2, 3, {
        float *ratio = F(5) + u0 * STRIDE(5, 0) + u1 * STRIDE(5, 2) + u2 * STRIDE(5, 3);
        for (int64_t c = 0; c < len; c++) ratio[c] = p2[c] * p0[c] / p1[c];
    });
    FOR_PIXELS(0, 2, 4, {
        const float *dy = F(3) + u0 * STRIDE(3, 0) + u1 * STRIDE(3, 2) + u2 * STRIDE(3, 3);
        EACH_LANE put(p2 + c, near_sum(0, op, 5, u0, u1, u2, c), channels);
        gradient_row(p2, p0, p1, dy, slope, beta, len);
    });
}
