/* Correlation with few outputs a group: vectors run over what is summed, the input channels, and not over outputs. */
#define FEW 4             /* outputs at most */
#define FEW_PIXELS (MR / 2) /* computed together */

AI float total(vf v) {
    float t[VL];
    memcpy(t, &v, sizeof(t));
    for (int half = VL / 2; half; half /= 2)
        for (int l = 0; l < half; l++) t[l] += t[l + half];
    return t[0];
}

/* Pieces of x that lie in one, and where they are. */
typedef struct { int64_t count, length, padded; } pieces;

AI pieces pieces_of(const correlation *c) {
    const int64_t length = joined(c) ? c->kw * c->cin : c->cin;
    return (pieces){joined(c) ? 1 : c->kw, length, (length + VL - 1) / VL * VL};
}

static int64_t few_size(const correlation *c) {
    const pieces p = pieces_of(c);
    return c->group * c->cout * c->kh * p.count * p.padded;
}

/* w as [group][tap][output][input], each row filled up with zeros to whole vectors. */
static void few_weights(const correlation *c, pieces p, float *to) {
    for (int64_t g = 0; g < c->group; g++)
        for (int64_t u = 0; u < c->kh; u++)
            for (int64_t t = 0; t < p.count; t++)
                for (int64_t o = 0; o < c->cout; o++, to += p.padded)
                    for (int64_t k = 0; k < p.padded; k++)
                        to[k] = k < p.length ? c->w[u * c->wh + t * c->ww + k * c->wc + g * c->cout + o] : 0.0f;
}

AI void few_pixels(const int px, const int outs, const correlation *c, pieces p, range u, const float *x,
                   const float *w, const float *bias, float *y) {

    vf sum[FEW_PIXELS][FEW];
    vi keep;
    for (int l = 0; l < VL; l++) keep[l] = l < p.length - (p.padded - VL) ? -1 : 0;
#pragma GCC unroll 8
    for (int m = 0; m < px; m++)
#pragma GCC unroll 4
        for (int o = 0; o < outs; o++) sum[m][o] = (vf){0};
    for (int64_t k = u.first; k < u.last; k++)
        for (int64_t t = 0; t < p.count; t++) {
            const float *from = x + k * c->dh * c->xh + t * c->dw * c->xw;
            const float *f = w + (k * p.count + t) * outs * p.padded;
            for (int64_t l = 0; l < p.padded; l += VL) {
                vf row[FEW];
#pragma GCC unroll 4
                for (int o = 0; o < outs; o++) row[o] = *(const vf *)(f + o * p.padded + l);
#pragma GCC unroll 8
                for (int m = 0; m < px; m++) {
                    vf v = *(const vf *)(from + m * c->sw * c->xw + l);
                    if (l + VL > p.length) v = (vf)((vi)v & keep); /* 0 times what lies behind may not be 0 */
#pragma GCC unroll 4
                    for (int o = 0; o < outs; o++) sum[m][o] += v * row[o];
                }
            }
        }
#pragma GCC unroll 8
    for (int m = 0; m < px; m++)
#pragma GCC unroll 4
        for (int o = 0; o < outs; o++) y[m * c->yw + o] = total(sum[m][o]) + (bias ? bias[o] : 0.0f);
}

#define FEW_OUTS(outs)                                                                                                 \
    static __attribute__((noinline)) void few_row_##outs(const correlation *c, pieces p, range u, const float *x,     \
                                                         const float *w, const float *bias, float *y) {              \
        int64_t q = 0;                                                                                                 \
        for (; q + FEW_PIXELS <= c->ow; q += FEW_PIXELS)                                                               \
            few_pixels(FEW_PIXELS, outs, c, p, u, x + q * c->sw * c->xw, w, bias, y + q * c->yw);                      \
        for (; q < c->ow; q++) few_pixels(1, outs, c, p, u, x + q * c->sw * c->xw, w, bias, y + q * c->yw);            \
    }
FEW_OUTS(1) FEW_OUTS(2) FEW_OUTS(3) FEW_OUTS(4)

static void correlate_few(const correlation *c, float *work) {
    const pieces p = pieces_of(c);
    few_weights(c, p, work);
    for (int64_t i = 0; i < c->n; i++)
        for (int64_t g = 0; g < c->group; g++)
            for (int64_t r = 0; r < c->oh; r++) {
                const int64_t top = r * c->sh + c->top;
                const float *x = c->x + i * c->xi + top * c->xh + c->left * c->xw + g * c->cin;
                const float *w = work + g * c->kh * p.count * c->cout * p.padded;
                const float *bias = c->bias ? c->bias + g * c->cout : 0;
                float *y = c->y + i * c->yi + r * c->yh + g * c->cout;
                const range u = inside(top, c->dh, c->kh, c->height);
                switch (c->cout) {
                case 1: few_row_1(c, p, u, x, w, bias, y); break;
                case 2: few_row_2(c, p, u, x, w, bias, y); break;
                case 3: few_row_3(c, p, u, x, w, bias, y); break;
                default: few_row_4(c, p, u, x, w, bias, y);
                }
            }
}
