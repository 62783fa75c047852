/* Scale and Bias: numbers, mostly one a channel, that meet an array. */

AI void scale_row(float *y, const float *x, const float *factor, const float *bias, int64_t len) {
    if (factor && bias) for (int64_t c = 0; c < len; c++) y[c] = x[c] * factor[c] + bias[c];
    else if (factor) for (int64_t c = 0; c < len; c++) y[c] = x[c] * factor[c];
    else for (int64_t c = 0; c < len; c++) y[c] = x[c] + bias[c];
}

/* Take one number a channel to every pixel of a blob; either may be NULL. */
static void scale_channels(const brew_op *op, const float *factors, const float *biases) {
    repeated rooms[2];
    const int64_t channels = SIZE(0, 1), length = repeated_length(channels);
    const float *factor = repeat(&rooms[0], factors, channels), *bias = repeat(&rooms[1], biases, channels);
    FOR_ROWS(0, 1, 1, {
        for (int64_t c = 0; c < len; c += length) scale_row(p1 + c, p0 + c, factor, bias, BREW_MIN(length, len - c));
    });
}

/* y = x * factor + bias. a: x, y, factor or none, bias or none, both broadcast (stride 0) to the shape of x. */
static void scale_forward(const brew_op *op) {
    if ((!F(2) || by_channel(op, 2)) && (!F(3) || by_channel(op, 3))) {
        scale_channels(op, F(2), F(3));
        return;
    }
    if (F(2)) {
        FOR_ROWS(0, 1, 2, { for (int64_t c = 0; c < len; c++) p1[c * s1] = p0[c * s0] * p2[c * s2]; });
    }
    if (F(3)) {
        const int from = F(2) ? 1 : 0;
        FOR_ROWS(from, 1, 3, { for (int64_t c = 0; c < len; c++) p1[c * s1] = p0[c * s0] + p2[c * s2]; });
    }
}

/* dx = dy * factor. a: dy, dx, factor. */
static void scale_backward_data(const brew_op *op) {
    if (by_channel(op, 2)) {
        scale_channels(op, F(2), 0);
        return;
    }
    FOR_ROWS(0, 1, 2, { for (int64_t c = 0; c < len; c++) p1[c * s1] = p0[c * s0] * p2[c * s2]; });
}

/* dfactor += dy * x, dbias += dy in doubles, summed over what was broadcast.
 * a: dy, x, dfactor or none, dbias or none. */
static void scale_backward_parameters(const brew_op *op) {
    const pictures dy = pictures_of(&op->a[0]), x = pictures_of(&op->a[1]);
    if ((!F(2) || by_channel(op, 2)) && (!F(3) || by_channel(op, 3))) {
        for (int64_t n = 0; n < dy.count; n++) {
            if (F(2)) picture_sums(DOT, &dy, &x, n, 0, 0, dy.channels, F64(3), F64(2));
            else picture_sums(SUM, &dy, 0, n, 0, 0, dy.channels, F64(3), 0);
        }
        return;
    }
    if (F(2)) {
        FOR_ROWS(0, 1, 2, {
            double *sum = F64(2) + (p2 - F(2));
            for (int64_t c = 0; c < len; c++) sum[c * s2] += (double)p0[c * s0] * p1[c * s1];
        });
    }
    if (F(3)) {
        FOR_ROWS(0, 3, 3, {
            double *sum = F64(3) + (p1 - F(3));
            for (int64_t c = 0; c < len; c++) sum[c * s1] += p0[c * s0];
        });
    }
}

/* The same for a factor that is a bottom: its gradient is float32. a: dy, x, dfactor. */
static void scale_backward_bottom(const brew_op *op) {
    FOR_ROWS(0, 1, 2, { for (int64_t c = 0; c < len; c++) p2[c * s2] += p0[c * s0] * p1[c * s1]; });
}
