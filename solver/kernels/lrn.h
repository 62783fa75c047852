/* Local response normalisation. */

AI void power_row(float *y, const float *scale, float beta, int64_t len) {
    if (beta == 0.75f)
        for (int64_t c = 0; c < len; c++) y[c] = 1.0f / (sqrtf(scale[c]) * sqrtf(sqrtf(scale[c])));
    else
        for (int64_t c = 0; c < len; c++) y[c] = powf(scale[c], -beta);
}

/* a: x, y, scale; i: size; f: alpha, beta, k. scale_c = k + alpha/size * sum over channels near c of x^2. */
static void lrn_across_forward(const brew_op *op) {
    const int64_t half = (op->i[0] - 1) / 2;
    const float slope = (float)(op->f[0] / (double)op->i[0]), beta = (float)op->f[1], k = (float)op->f[2];
    FOR_PIXELS(0, 1, 2, {
        for (int64_t c = 0; c < len; c++) {
            float sum = 0;
            for (int64_t j = BREW_MAX(c - half, 0); j <= BREW_MIN(c + half, len - 1); j++) sum += p0[j] * p0[j];
            p2[c] = k + slope * sum;
        }
        power_row(p1, p2, beta, len);
        for (int64_t c = 0; c < len; c++) p1[c] *= p0[c];
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
        power_row(p2, p1, beta, len);
        for (int64_t c = 0; c < len; c++) {
            float sum = 0;
            for (int64_t j = BREW_MAX(c - half, 0); j <= BREW_MIN(c + half, len - 1); j++) sum += ratio[j];
            p2[c] = p2[c] * dy[c] - slope * p0[c] * sum;
        }
    });
}

/* As lrn_across, over a size x size window of the same channel, without k: scale = 1 + alpha/size^2 * sum x^2. */
static void lrn_within_forward(const brew_op *op) {
    const int64_t size = op->i[0], half = (size - 1) / 2, height = SIZE(0, 2), width = SIZE(0, 3);
    const float slope = (float)(op->f[0] / (double)(size * size)), beta = (float)op->f[1];
    FOR_PIXELS(0, 1, 2, {
        for (int64_t c = 0; c < len; c++) p2[c] = 0;
        for (int64_t r = BREW_MAX(u1 - half, 0); r <= BREW_MIN(u1 + half, height - 1); r++)
            for (int64_t q = BREW_MAX(u2 - half, 0); q <= BREW_MIN(u2 + half, width - 1); q++) {
                const float *near = F(0) + u0 * STRIDE(0, 0) + r * STRIDE(0, 2) + q * STRIDE(0, 3);
                for (int64_t c = 0; c < len; c++) p2[c] += near[c] * near[c];
            }
        for (int64_t c = 0; c < len; c++) p2[c] = 1.0f + slope * p2[c];
        power_row(p1, p2, beta, len);
        for (int64_t c = 0; c < len; c++) p1[c] *= p0[c];
    });
}

static void lrn_within_backward(const brew_op *op) {
    const int64_t size = op->i[0], half = (size - 1) / 2, height = SIZE(0, 2), width = SIZE(0, 3);
    const float beta = (float)op->f[1], slope = (float)(2.0 * op->f[0] * op->f[1] / (double)(size * size));
    FOR_PIXELS(1, 2, 3, {
        float *ratio = F(5) + u0 * STRIDE(5, 0) + u1 * STRIDE(5, 2) + u2 * STRIDE(5, 3);
        for (int64_t c = 0; c < len; c++) ratio[c] = p2[c] * p0[c] / p1[c];
    });
    FOR_PIXELS(0, 2, 4, {
        const float *dy = F(3) + u0 * STRIDE(3, 0) + u1 * STRIDE(3, 2) + u2 * STRIDE(3, 3);
        power_row(p2, p1, beta, len);
        for (int64_t c = 0; c < len; c++) p2[c] *= dy[c];
        for (int64_t r = BREW_MAX(u1 - half, 0); r <= BREW_MIN(u1 + half, height - 1); r++)
            for (int64_t q = BREW_MAX(u2 - half, 0); q <= BREW_MIN(u2 + half, width - 1); q++) {
                const float *ratio = F(5) + u0 * STRIDE(5, 0) + r * STRIDE(5, 2) + q * STRIDE(5, 3);
                for (int64_t c = 0; c < len; c++) p2[c] -= slope * p0[c] * ratio[c];
            }
    });
}
