/* Convolution on pictures stored n, h, w, c with a zero border left and right, and weights stored
 * [kh][kw][cin/group][cout]. No im2col: for a fixed kernel row, the (kw, cin) patch of a pixel is contiguous. */

/* The general case: matrix products, with the outputs of a row of pixels as the rows of the matrix. */
static void correlate_gemm(const correlation *given) {
    correlation c = *given;
    if (c.kh * c.kw == 1 && c.sh == 1 && c.sw == 1 && c.oh == c.height && c.xh == c.ow * c.xw && c.yh == c.ow * c.yw) {
        c.ow *= c.oh; /* rows that lie behind each other are one, and so are small pictures */
        c.oh = c.height = 1;
        if (c.ow < 64 && c.xi == c.ow * c.xw && c.yi == c.ow * c.yw) {
            c.ow *= c.n;
            c.n = 1;
        }
        c.x += c.left * c.xw;
        c.left = 0;
        c.width = c.ow;
    }
    const int row_taps = joined(&c), by_sample = c.n > c.ow && (c.ow < MR || c.width < c.ow);
    gemm_args g = {.as = c.dh * c.xh, .at = c.dw * c.xw, .ak = 1, .bs = c.wh, .bt = c.ww, .ldb = c.wc, .c = c.y,
                   .ldn = 1, .mode = c.bias ? GEMM_BIAS : GEMM_SET};
    g.am = by_sample ? c.xi : c.sw * c.xw;
    g.ldc = by_sample ? c.yi : c.yw;
    /* weights that are larger than a picture are read once for all pictures */
    const int64_t block = by_sample || c.kh * c.kw * 2 * VL > c.oh * c.ow ? c.n : 1, columns = by_sample ? c.ow : 1;
    for (int64_t first = 0; first < c.n; first += block)
        for (int64_t p = 0; p < c.group; p++)
            for (int64_t col = 0; col < c.cout; col += 2 * VL)
                for (int64_t i = first; i < first + (by_sample ? 1 : block); i++)
                    for (int64_t r = 0; r < c.oh; r++)
                        for (int64_t q = 0; q < columns; q++) {
                            const int64_t top = r * c.sh + c.top, left = q * c.sw + c.left, at = p * c.cout + col;
                            const range u = inside(top, c.dh, c.kh, c.height);
                            const range v = by_sample ? inside(left, c.dw, c.kw, c.width) : (range){0, c.kw};
                            g.ns = u.last - u.first;
                            g.nt = row_taps ? 1 : v.last - v.first;
                            g.k = row_taps ? (v.last - v.first) * c.cin : c.cin;
                            gemm_block(by_sample ? c.n : c.ow, BREW_MIN(c.cout - col, 2 * VL), &g,
                                       c.x + i * c.xi + (top + u.first * c.dh) * c.xh + (left + v.first * c.dw) * c.xw
                                           + p * c.cin,
                                       c.w + u.first * c.wh + v.first * c.ww + at, i * c.yi + r * c.yh + q * c.yw + at,
                                       c.bias ? c.bias + at : 0);
                        }
}

static void correlate(const correlation *c) {
    const int few = c->kh && c->cout <= FEW && pieces_of(c).length >= VL;
    const int across = c->kh && is_across(c);
    float *work = few || across ? work_of(across ? lanes_size(c) : few_size(c)) : 0;
    if (work && across) correlate_lanes(c, work);
    else if (work && few) correlate_few(c, work);
    else correlate_gemm(c);
}

/* y = conv(x, w) + bias. a: x, w, bias or none, y; i: stride h w, pad h w, dilation h w, group.
 * The size of y decides how far x is read; the border of x (and slack) must cover it to the left and right. */
static void conv_forward(const brew_op *op) {
    const int64_t *i = op->i;
    const correlation c = {
        .n = SIZE(0, 0), .height = SIZE(0, 2), .width = SIZE(0, 3), .oh = SIZE(3, 2), .ow = SIZE(3, 3),
        .kh = SIZE(1, 2), .kw = SIZE(1, 3), .cin = SIZE(1, 1), .cout = SIZE(1, 0) / i[6], .group = i[6],
        .sh = i[0], .sw = i[1], .dh = i[4], .dw = i[5],
        .top = -i[2], .left = -i[3], .x = F(0), .xi = STRIDE(0, 0), .xh = STRIDE(0, 2), .xw = STRIDE(0, 3), .w = F(1),
        .wh = STRIDE(1, 2), .ww = STRIDE(1, 3), .wc = STRIDE(1, 1), .bias = F(2), .y = F(3), .yi = STRIDE(3, 0),
        .yh = STRIDE(3, 2), .yw = STRIDE(3, 3)};
    correlate(&c);
}

/* Which taps of a turned kernel meet outputs first, first + stride, ... of a transposed convolution: every `step`-th of
 * them from `tap` on, the first of which sees place `at` of the input, each further one `move` places later. */
typedef struct { int64_t tap, count, step, move, at; } phase;

AI phase phase_of(int64_t first, int64_t kernel, int64_t stride, int64_t pad, int64_t dilation) {
    int64_t a = stride, b = dilation;
    while (b) { /* greatest common divisor */
        const int64_t rest = a % b;
        a = b;
        b = rest;
    }
    phase f = {.tap = 0, .step = stride / a, .move = dilation / a};
    while (f.tap < f.step && (first + pad - (kernel - 1 - f.tap) * dilation) % stride) f.tap++;
    f.count = f.tap < f.step && f.tap < kernel ? (kernel - 1 - f.tap) / f.step + 1 : 0;
    f.at = f.count ? (first + pad - (kernel - 1 - f.tap) * dilation) / stride : 0;
    return f;
}

/* dx = the transpose of conv applied to dy, + bias. a: dy, turned w (cin, cout/group, kh, kw), bias or none, dx;
 * i as in conv_forward. The outputs of each phase of the stride are a correlation of their own, with stride 1. */
static void conv_backward_data(const brew_op *op) {
    const int64_t *i = op->i, sh = i[0], sw = i[1];
    for (int64_t row = 0; row < BREW_MIN(sh, SIZE(3, 2)); row++)
        for (int64_t col = 0; col < BREW_MIN(sw, SIZE(3, 3)); col++) {
            const phase h = phase_of(row, SIZE(1, 2), sh, i[2], i[4]), w = phase_of(col, SIZE(1, 3), sw, i[3], i[5]);
            const correlation c = {
                .n = SIZE(0, 0), .height = SIZE(0, 2), .width = SIZE(0, 3), .oh = (SIZE(3, 2) - row + sh - 1) / sh,
                .ow = (SIZE(3, 3) - col + sw - 1) / sw, .kh = w.count ? h.count : 0, .kw = w.count, .cin = SIZE(1, 1),
                .cout = SIZE(1, 0) / i[6], .group = i[6], .sh = 1, .sw = 1, .dh = h.move, .dw = w.move, .top = h.at,
                .left = w.at, .x = F(0), .xi = STRIDE(0, 0), .xh = STRIDE(0, 2), .xw = STRIDE(0, 3),
                .w = F(1) + h.tap * STRIDE(1, 2) + w.tap * STRIDE(1, 3), .wh = h.step * STRIDE(1, 2),
                .ww = w.step * STRIDE(1, 3), .wc = STRIDE(1, 1), .bias = F(2),
                .y = F(3) + row * STRIDE(3, 2) + col * STRIDE(3, 3), .yi = STRIDE(3, 0), .yh = sh * STRIDE(3, 2),
                .yw = sw * STRIDE(3, 3)};
            correlate(&c);
        }
}

/* The sum runs over output pixels; each picture's is computed from zero and added in doubles. */
static void correlate_weight_gemm(const correlation *c) {
    const int row_taps = joined(c);
    const int64_t m = row_taps ? c->kw * c->cin : c->cin;
    /* with few outputs, or where that fills vectors better, inputs are the columns of the product */
    const int64_t upright = (c->cout + VL - 1) / VL * m, across = (m + VL - 1) / VL * c->cout;
    const int turned = (c->cout <= FEW && m >= VL) || (c->n > 1 && 10 * across < 9 * upright);
    /* so many pictures stay in the caches while the gradient, which is read and written for each, is gone through */
    const int64_t picture = c->oh * c->ow * (c->sh * c->sw * c->group * c->cin + c->group * c->cout);
    const int64_t block = BREW_MAX(1, BREW_MIN(c->n, (1 << 18) / BREW_MAX(picture, 1)));
    for (int64_t first = 0; first < c->n; first += block)
        for (int64_t p = 0; p < c->group; p++)
            for (int64_t u = 0; u < c->kh; u++)
                for (int64_t t = 0; t < (row_taps ? 1 : c->kw); t++) {
                    const range r = inside(u * c->dh + c->top, c->sh, c->oh, c->height);
                    const float *x = c->x + first * c->xi + (r.first * c->sh + u * c->dh + c->top) * c->xh
                                   + (t * c->dw + c->left) * c->xw + p * c->cin;
                    const float *dy = c->y + first * c->yi + r.first * c->yh + p * c->cout;
                    gemm_args g = {.ns = r.last - r.first, .nt = 1, .k = c->ow, .am = 1, .sum = c->dw_sum,
                                   .mode = GEMM_ADD, .times = BREW_MIN(block, c->n - first)};
                    const int64_t at = u * c->wh + t * c->ww + p * c->cout;
                    if (turned) {
                        g.a = dy, g.as = c->yh, g.ak = c->yw, g.ai = c->yi, g.ldc = 1;
                        g.b = x, g.bs = c->sh * c->xh, g.ldb = c->sw * c->xw, g.bi = c->xi, g.ldn = c->wc;
                        gemm(c->cout, m, &g, at);
                    } else {
                        g.a = x, g.as = c->sh * c->xh, g.ak = c->sw * c->xw, g.ai = c->xi, g.ldc = c->wc;
                        g.b = dy, g.bs = c->yh, g.ldb = c->yw, g.bi = c->yi, g.ldn = 1;
                        gemm(m, c->cout, &g, at);
                    }
                }
}

/* dw += x (*) dy, in doubles. a: x, dy, dw; i as in conv_forward. */
static void conv_backward_weight(const brew_op *op) {
    const int64_t *i = op->i;
    const correlation c = {
        .n = SIZE(0, 0), .height = SIZE(0, 2), .oh = SIZE(1, 2), .ow = SIZE(1, 3), .kh = SIZE(2, 2), .kw = SIZE(2, 3),
        .cin = SIZE(2, 1), .cout = SIZE(2, 0) / i[6], .group = i[6], .sh = i[0], .sw = i[1], .dh = i[4], .dw = i[5],
        .top = -i[2], .left = -i[3], .x = F(0), .xi = STRIDE(0, 0), .xh = STRIDE(0, 2), .xw = STRIDE(0, 3),
        .dw_sum = F64(2), .wh = STRIDE(2, 2), .ww = STRIDE(2, 3), .wc = STRIDE(2, 1), .y = F(1), .yi = STRIDE(1, 0),
        .yh = STRIDE(1, 2), .yw = STRIDE(1, 3)};
    float *work = is_across(&c) ? work_of(lanes_size(&c)) : 0;
    if (work) correlate_weight_lanes(&c, work);
    else correlate_weight_gemm(&c);
}

/* wt = w turned by 180 degrees with its channels exchanged, group by group: the weights of the data gradient.
 * a: w (cout, cin/group, kh, kw), wt (cin, cout/group, kh, kw); i: group. */
static void conv_flip(const brew_op *op) {
    const int64_t group = op->i[0], cout = SIZE(0, 0) / group, cin = SIZE(0, 1), kh = SIZE(0, 2), kw = SIZE(0, 3);
    for (int64_t tap = 0; tap < kh * kw; tap++) {
        const float *from = F(0) + tap / kw * STRIDE(0, 2) + tap % kw * STRIDE(0, 3);
        float *to = F(1) + (kh - 1 - tap / kw) * STRIDE(1, 2) + (kw - 1 - tap % kw) * STRIDE(1, 3);
        for (int64_t o = 0; group > cin && o < cout; o++) /* many small groups */
            for (int64_t c = 0; c < cin; c++)
                for (int64_t p = 0; p < group; p++)
                    to[p * cin + c + o * STRIDE(1, 1)] = from[p * cout + o + c * STRIDE(0, 1)];
        for (int64_t p = 0; group <= cin && p < group; p++)
            transpose(cin, cout, from + p * cout, STRIDE(0, 1), to + p * cin, STRIDE(1, 1));
    }
}
