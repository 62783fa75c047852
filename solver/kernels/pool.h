/* Pooling over pictures stored n, h, w, c; the inner loops run over channels.
 * a: x, y[, mask]; i: kernel h w, stride h w, pad h w. Windows as in Caffe: clipped to the picture. */

typedef struct { int64_t first, last, whole; } window; /* [first, last) inside the picture; whole: its size with padding */

AI window window_at(int64_t out, int64_t kernel, int64_t stride, int64_t pad, int64_t size) {
    const int64_t start = out * stride - pad, end = BREW_MIN(start + kernel, size + pad);
    return (window){BREW_MAX(start, 0), BREW_MIN(end, size), end - start};
}

#define FOR_WINDOWS(X, Y, BODY)                                                                           \
    for (int64_t n = 0; n < SIZE(Y, 0); n++)                                                              \
        for (int64_t r = 0; r < SIZE(Y, 2); r++)                                                          \
            for (int64_t q = 0; q < SIZE(Y, 3); q++) {                                                    \
                const window h = window_at(r, op->i[0], op->i[2], op->i[4], SIZE(X, 2));                  \
                const window w = window_at(q, op->i[1], op->i[3], op->i[5], SIZE(X, 3));                  \
                float *y = F(Y) + n * STRIDE(Y, 0) + r * STRIDE(Y, 2) + q * STRIDE(Y, 3);                 \
                float *x = F(X) + n * STRIDE(X, 0);                                                       \
                BODY                                                                                      \
            }

/* The first maximum in row order wins; mask (n, c, h, w as int32) is its place h*W + w, -1 where nothing exceeds
 * -FLT_MAX. */
static void pool_max_forward(const brew_op *op) {
    const int64_t channels = SIZE(0, 1), width = SIZE(0, 3);
    FOR_WINDOWS(0, 1, {
        int32_t *mask = I32(2) + n * STRIDE(2, 0) + r * STRIDE(2, 2) + q * STRIDE(2, 3);
        for (int64_t c = 0; c < channels; c++) {
            y[c] = -3.402823466e38f;
            mask[c] = -1;
        }
        for (int64_t u = h.first; u < h.last; u++)
            for (int64_t v = w.first; v < w.last; v++) {
                const float *from = x + u * STRIDE(0, 2) + v * STRIDE(0, 3);
                const int32_t place = (int32_t)(u * width + v);
                for (int64_t c = 0; c < channels; c++) {
                    const int more = from[c] > y[c];
                    y[c] = more ? from[c] : y[c];
                    mask[c] = more ? place : mask[c];
                }
            }
    })
}

/* The places of the maxima as numbers. a: mask, y. */
static void pool_mask(const brew_op *op) {
    for (int64_t n = 0; n < SIZE(1, 0); n++)
        for (int64_t r = 0; r < SIZE(1, 2); r++)
            for (int64_t q = 0; q < SIZE(1, 3); q++) {
                const int32_t *mask = I32(0) + n * STRIDE(0, 0) + r * STRIDE(0, 2) + q * STRIDE(0, 3);
                float *y = F(1) + n * STRIDE(1, 0) + r * STRIDE(1, 2) + q * STRIDE(1, 3);
                for (int64_t c = 0; c < SIZE(1, 1); c++) y[c] = (float)mask[c];
            }
}

/* dx = dy sent to where the maxima were. a: dx, dy, mask. */
static void pool_max_backward(const brew_op *op) {
    const int64_t channels = SIZE(0, 1), width = SIZE(0, 3);
    FOR_ROWS(0, 0, 0, { memset(p0, 0, (size_t)len * sizeof(float)); });
    FOR_WINDOWS(0, 1, {
        const int32_t *mask = I32(2) + n * STRIDE(2, 0) + r * STRIDE(2, 2) + q * STRIDE(2, 3);
        for (int64_t u = h.first; u < h.last; u++)
            for (int64_t v = w.first; v < w.last; v++) {
                float *to = x + u * STRIDE(0, 2) + v * STRIDE(0, 3);
                const int32_t place = (int32_t)(u * width + v);
                for (int64_t c = 0; c < channels; c++) to[c] += mask[c] == place ? y[c] : 0.0f;
            }
    })
}

static void pool_ave_forward(const brew_op *op) {
    const int64_t channels = SIZE(0, 1);
    FOR_WINDOWS(0, 1, {
        const float scale = 1.0f / (float)(h.whole * w.whole);
        for (int64_t c = 0; c < channels; c++) y[c] = 0.0f;
        for (int64_t u = h.first; u < h.last; u++)
            for (int64_t v = w.first; v < w.last; v++) {
                const float *from = x + u * STRIDE(0, 2) + v * STRIDE(0, 3);
                for (int64_t c = 0; c < channels; c++) y[c] += from[c];
            }
        for (int64_t c = 0; c < channels; c++) y[c] *= scale;
    })
}

/* a: dx, dy. */
static void pool_ave_backward(const brew_op *op) {
    const int64_t channels = SIZE(0, 1);
    FOR_ROWS(0, 0, 0, { memset(p0, 0, (size_t)len * sizeof(float)); });
    FOR_WINDOWS(0, 1, {
        const float scale = 1.0f / (float)(h.whole * w.whole);
        for (int64_t u = h.first; u < h.last; u++)
            for (int64_t v = w.first; v < w.last; v++) {
                float *to = x + u * STRIDE(0, 2) + v * STRIDE(0, 3);
                for (int64_t c = 0; c < channels; c++) to[c] += y[c] * scale;
            }
    })
}
