/* Convolution on pictures stored n, h, w, c with a zero border, weights stored [kh][kw][cin/group][cout].
 * No im2col: for a fixed kernel row, the (kw, cin) patch of a pixel is contiguous. */
#define MAX_TAPS 1024

/* y = conv(x, w) + bias. a: x, w, bias or none, y; i: stride h w, pad h w, dilation h w, group.
 * The size of y decides how far x is read; its border (and slack) must cover it. */
static void conv_forward(const brew_op *op) {
    const int64_t sh = op->i[0], sw = op->i[1], ph = op->i[2], pw = op->i[3], dh = op->i[4], dw = op->i[5];
    const int64_t group = op->i[6], n = SIZE(0, 0), oh = SIZE(3, 2), ow = SIZE(3, 3);
    const int64_t cout = SIZE(1, 0) / group, cin = SIZE(1, 1), kh = SIZE(1, 2), kw = SIZE(1, 3), ldb = SIZE(1, 0);
    const int64_t xh = STRIDE(0, 2), xw = STRIDE(0, 3);
    const int row_taps = group == 1 && dw == 1 && xw == cin; /* a whole kernel row is one contiguous patch */
    const int64_t taps = row_taps ? kh : kh * kw;
    int64_t aoff[MAX_TAPS], boff[MAX_TAPS];
    for (int64_t t = 0; t < taps; t++) {
        const int64_t r = row_taps ? t : t / kw, q = row_taps ? 0 : t % kw;
        aoff[t] = r * dh * xh + q * dw * xw;
        boff[t] = (r * kw + q) * cin * ldb;
    }
    gemm_args g = {.nb = taps, .k = row_taps ? kw * cin : cin, .aoff = aoff, .boff = boff, .am = sw * xw, .ak = 1,
                   .ldb = ldb, .c = F(3), .ldc = STRIDE(3, 3), .mode = F(2) ? GEMM_BIAS : GEMM_SET};
    for (int64_t i = 0; i < n; i++)
        for (int64_t p = 0; p < group; p++)
            for (int64_t col = 0; col < cout; col += 2 * VL)
                for (int64_t r = 0; r < oh; r++) {
                    const int64_t at = p * cout + col;
                    gemm_block(ow, BREW_MIN(cout - col, 2 * VL), &g,
                               F(0) + i * STRIDE(0, 0) + (r * sh - ph) * xh - pw * xw + p * cin, F(1) + at,
                               i * STRIDE(3, 0) + r * STRIDE(3, 2) + at, F(2) ? F(2) + at : 0);
                }
}

/* dw += x (*) dy, in doubles. a: x, dy, dw; i as in conv_forward. The sum runs over images and output pixels. */
static void conv_backward_weight(const brew_op *op) {
    const int64_t sh = op->i[0], sw = op->i[1], ph = op->i[2], pw = op->i[3], dh = op->i[4], dw = op->i[5];
    const int64_t group = op->i[6], n = SIZE(0, 0), oh = SIZE(1, 2), ow = SIZE(1, 3);
    const int64_t cout = SIZE(2, 0) / group, cin = SIZE(2, 1), kh = SIZE(2, 2), kw = SIZE(2, 3), ldc = SIZE(2, 0);
    const int64_t xh = STRIDE(0, 2), xw = STRIDE(0, 3);
    const int row_taps = group == 1 && dw == 1 && xw == cin;
    const int64_t taps = row_taps ? kh : kh * kw, block = BREW_MIN(oh, MAX_TAPS);
    int64_t aoff[MAX_TAPS], boff[MAX_TAPS];
    for (int64_t r = 0; r < block; r++) {
        aoff[r] = r * sh * xh;
        boff[r] = r * STRIDE(1, 2);
    }
    for (int64_t i = 0; i < n; i++)
        for (int64_t first = 0; first < oh; first += block) {
            gemm_args g = {.nb = BREW_MIN(block, oh - first), .k = ow, .aoff = aoff, .boff = boff, .am = 1, .ak = sw * xw,
                           .ldb = STRIDE(1, 3), .sum = F64(2), .ldc = ldc, .mode = GEMM_ADD};
            for (int64_t p = 0; p < group; p++)
                for (int64_t t = 0; t < taps; t++) {
                    const int64_t r = row_taps ? t : t / kw, q = row_taps ? 0 : t % kw;
                    g.a = F(0) + i * STRIDE(0, 0) + (first * sh + r * dh - ph) * xh + (q * dw - pw) * xw + p * cin;
                    g.b = F(1) + i * STRIDE(1, 0) + first * STRIDE(1, 2) + p * cout;
                    gemm(row_taps ? kw * cin : cin, cout, &g, (r * kw + q) * cin * ldc + p * cout);
                }
        }
}

/* wt = w turned by 180 degrees with its channels exchanged, group by group: the weights of the data gradient.
 * a: w (cout, cin/group, kh, kw), wt (cin, cout/group, kh, kw); i: group. */
static void conv_flip(const brew_op *op) {
    const int64_t group = op->i[0], cout = SIZE(0, 0) / group, cin = SIZE(0, 1), kh = SIZE(0, 2), kw = SIZE(0, 3);
    for (int64_t r = 0; r < kh; r++)
        for (int64_t q = 0; q < kw; q++)
            for (int64_t p = 0; p < group; p++)
                for (int64_t o = 0; o < cout; o++) {
                    const float *from = F(0) + r * STRIDE(0, 2) + q * STRIDE(0, 3) + (p * cout + o) * STRIDE(0, 0);
                    float *to = F(1) + (kh - 1 - r) * STRIDE(1, 2) + (kw - 1 - q) * STRIDE(1, 3) + o * STRIDE(1, 1)
                              + p * cin * STRIDE(1, 0);
                    for (int64_t c = 0; c < cin; c++) to[c * STRIDE(1, 0)] = from[c * STRIDE(0, 1)];
                }
}

/* y = x with stride-1 zero rows and columns between its own, for the data gradient of a strided convolution.
 * a: x, y (whose gaps are zero already); i: stride h w. */
static void spread(const brew_op *op) {
    for (int64_t i = 0; i < SIZE(0, 0); i++)
        for (int64_t r = 0; r < SIZE(0, 2); r++)
            for (int64_t q = 0; q < SIZE(0, 3); q++)
                memcpy(F(1) + i * STRIDE(1, 0) + r * op->i[0] * STRIDE(1, 2) + q * op->i[1] * STRIDE(1, 3),
                       F(0) + i * STRIDE(0, 0) + r * STRIDE(0, 2) + q * STRIDE(0, 3), (size_t)SIZE(0, 1) * sizeof(float));
}
