/* More element-wise layers, as in neuron.h. Gradients that need x get it, so their layers do not work in place. */

/* e^x over the whole range: from 0 for what is too small to infinity for what is too large. */
AI float exp_wide(float x) {
    const float root = exp_fast(0.5f * x);
    return root * root;
}

/* log(1 + t) for 0 <= t <= 1 to about 1e-7: 2 artanh(t / (2 + t)) by its series. */
AI float log1p_unit(float t) {
    const float s = t / (2.0f + t), q = s * s;
    float p = 1.0f / 13;
    p = p * q + 1.0f / 11;
    p = p * q + 1.0f / 9;
    p = p * q + 1.0f / 7;
    p = p * q + 1.0f / 5;
    p = p * q + 1.0f / 3;
    return 2.0f * s * (p * q + 1.0f);
}

static void abs_forward(const brew_op *op) {
    FOR_ROWS(0, 1, 1, { for (int64_t c = 0; c < len; c++) p1[c] = fabsf(p0[c]); });
}

static void abs_backward(const brew_op *op) {
    FOR_ROWS(0, 1, 2, {
        for (int64_t c = 0; c < len; c++) p2[c] = p1[c] * (float)((p0[c] > 0) - (p0[c] < 0));
    });
}

static void bnll_forward(const brew_op *op) {
    FOR_ROWS(0, 1, 1, {
        for (int64_t c = 0; c < len; c++) p1[c] = (p0[c] < 0 ? 0.0f : p0[c]) + log1p_unit(exp_fast(-fabsf(p0[c])));
    });
}

static void bnll_backward(const brew_op *op) {
    FOR_ROWS(0, 1, 2, { for (int64_t c = 0; c < len; c++) p2[c] = p1[c] * sigmoid_of(p0[c]); });
}

/* f: least, greatest. */
static void clip_forward(const brew_op *op) {
    const float least = (float)op->f[0], greatest = (float)op->f[1];
    FOR_ROWS(0, 1, 1, {
        for (int64_t c = 0; c < len; c++) {
            const float x = p0[c] > greatest ? greatest : p0[c];
            p1[c] = x < least ? least : x;
        }
    });
}

static void clip_backward(const brew_op *op) {
    const float least = (float)op->f[0], greatest = (float)op->f[1];
    FOR_ROWS(0, 1, 2, {
        for (int64_t c = 0; c < len; c++) p2[c] = (p0[c] >= least) & (p0[c] <= greatest) ? p1[c] : 0.0f;
    });
}

/* f: alpha. */
static void elu_forward(const brew_op *op) {
    const float alpha = (float)op->f[0];
    FOR_ROWS(0, 1, 1, {
        for (int64_t c = 0; c < len; c++) {
            const float below = alpha * (exp_fast(p0[c]) - 1.0f);
            p1[c] = p0[c] > 0 ? p0[c] : below;
        }
    });
}

static void elu_backward(const brew_op *op) {
    const float alpha = (float)op->f[0];
    FOR_ROWS(0, 1, 2, {
        for (int64_t c = 0; c < len; c++) {
            const float below = alpha * exp_fast(p0[c]);
            p2[c] = p1[c] * (p0[c] > 0 ? 1.0f : below);
        }
    });
}

/* y = e^(scale x + shift). f: scale, shift. */
static void exp_forward(const brew_op *op) {
    const float scale = (float)op->f[0], shift = (float)op->f[1];
    FOR_ROWS(0, 1, 1, { for (int64_t c = 0; c < len; c++) p1[c] = exp_wide(scale * p0[c] + shift); });
}

/* a: y, dy, dx; f: scale, shift. */
static void exp_backward(const brew_op *op) {
    const float scale = (float)op->f[0];
    FOR_ROWS(0, 1, 2, { for (int64_t c = 0; c < len; c++) p2[c] = scale * p0[c] * p1[c]; });
}

/* y = factor log(scale x + shift). f: scale, shift, factor. */
static void log_forward(const brew_op *op) {
    const float scale = (float)op->f[0], shift = (float)op->f[1], factor = (float)op->f[2];
    FOR_ROWS(0, 1, 1, { for (int64_t c = 0; c < len; c++) p1[c] = factor * logf(scale * p0[c] + shift); });
}

static void log_backward(const brew_op *op) {
    const float scale = (float)op->f[0], shift = (float)op->f[1], slope = (float)(op->f[2] * op->f[0]);
    FOR_ROWS(0, 1, 2, { for (int64_t c = 0; c < len; c++) p2[c] = slope * p1[c] / (scale * p0[c] + shift); });
}

/* y = (scale x + shift)^power. f: power, scale, shift. */
static void power_forward(const brew_op *op) {
    const float power = (float)op->f[0], scale = (float)op->f[1], shift = (float)op->f[2];
    FOR_ROWS(0, 1, 1, {
        for (int64_t c = 0; c < len; c++) p1[c] = scale * p0[c] + shift;
        if (power == 2.0f)
            for (int64_t c = 0; c < len; c++) p1[c] *= p1[c];
        else if (power != 1.0f)
            for (int64_t c = 0; c < len; c++) p1[c] = powf(p1[c], power);
    });
}

/* a: x, y, dy, dx; f: power, scale, shift. dx must not be dy. */
static void power_backward(const brew_op *op) {
    const float power = (float)op->f[0], scale = (float)op->f[1], shift = (float)op->f[2];
    const float slope = (float)(op->f[0] * op->f[1]);
    if (power == 2.0f) {
        FOR_ROWS(0, 2, 3, { for (int64_t c = 0; c < len; c++) p2[c] = slope * (scale * p0[c] + shift) * p1[c]; });
        return;
    }
    FOR_ROWS(0, 1, 3, { for (int64_t c = 0; c < len; c++) p2[c] = slope * p1[c] / (scale * p0[c] + shift); });
    FOR_ROWS(2, 3, 3, { for (int64_t c = 0; c < len; c++) p1[c] *= p0[c]; });
}

/* The slopes of a row are one for each element (step 1) or one for all (step 0): RUN is written out for both. */
#define FOR_SLOPES(RUN) \
    if (s2) RUN(1) else RUN(0)

/* a: x, y, slope broadcast (stride 0) to the shape of x. */
static void prelu_forward(const brew_op *op) {
#define RUN(step)                                       \
    for (int64_t c = 0; c < len; c++) {                 \
        const float below = p2[c * (step)] * p0[c];     \
        p1[c] = p0[c] > 0 ? p0[c] : below;              \
    }
    FOR_ROWS(0, 1, 2, { FOR_SLOPES(RUN) });
#undef RUN
}

/* a: x, dy, dx, slope broadcast. dx must not be dy. */
static void prelu_backward(const brew_op *op) {
#define RUN(step)                                       \
    for (int64_t c = 0; c < len; c++) {                 \
        const float below = p2[c * (step)];             \
        p1[c] = p0[c] > 0 ? 1.0f : below;               \
    }
    FOR_ROWS(0, 2, 3, { FOR_SLOPES(RUN) });
#undef RUN
    FOR_ROWS(1, 2, 2, { for (int64_t c = 0; c < len; c++) p1[c] *= p0[c]; });
}

/* dslope += dy x where x <= 0, in doubles. a: x, dy, dslope broadcast. */
static void prelu_backward_slope(const brew_op *op) {
#define RUN(step)                                       \
    for (int64_t c = 0; c < len; c++) {                 \
        const double part = (double)p0[c] * p1[c];      \
        sum[c * (step)] += p0[c] <= 0 ? part : 0.0;     \
    }
    FOR_ROWS(0, 1, 2, {
        double *sum = F64(2) + (p2 - F(2));
        FOR_SLOPES(RUN)
    });
#undef RUN
}

/* f: beta. */
static void swish_forward(const brew_op *op) {
    const float beta = (float)op->f[0];
    FOR_ROWS(0, 1, 1, { for (int64_t c = 0; c < len; c++) p1[c] = p0[c] / (1.0f + exp_wide(-beta * p0[c])); });
}

static void swish_backward(const brew_op *op) {
    const float beta = (float)op->f[0];
    FOR_ROWS(0, 1, 2, {
        for (int64_t c = 0; c < len; c++) {
            const float sigmoid = 1.0f / (1.0f + exp_wide(-beta * p0[c]));
            const float y = beta * p0[c] * sigmoid;
            p2[c] = p1[c] * (y + sigmoid * (1.0f - y));
        }
    });
}

/* f: threshold. */
static void threshold_forward(const brew_op *op) {
    const float threshold = (float)op->f[0];
    FOR_ROWS(0, 1, 1, { for (int64_t c = 0; c < len; c++) p1[c] = p0[c] > threshold ? 1.0f : 0.0f; });
}
