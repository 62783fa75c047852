/* Correlation where groups have few outputs (depthwise: one) and vectors run over the outputs of many groups.
 * Lane o needs the input channels of its own group. Where a group has one input and one output they lie in x as they
 * are needed; else they are picked from the one or two vectors of x in which those of all lanes must lie. */
typedef int32_t vi __attribute__((vector_size(4 * VL), aligned(4), may_alias));

AI int is_plain(const correlation *c) { return c->cin == 1 && c->cout == 1; }

/* The first input channel of the group of output o. */
AI int64_t group_start(const correlation *c, int64_t o) {
    return BREW_MIN(o, c->group * c->cout - 1) / c->cout * c->cin;
}

/* From how many vectors channels are picked; 0: they need not be. */
static int64_t sources_of(const correlation *c) {
    int64_t span = 0;
    for (int64_t o = 0; o < c->group * c->cout; o += VL)
        span = BREW_MAX(span, group_start(c, o + VL - 1) - group_start(c, o) + c->cin);
    return is_plain(c) ? 0 : (span + VL - 1) / VL;
}

/* Whether it is so, and better than vectors over the outputs of one group. */
static int is_across(const correlation *c) {
    if (c->group == 1 || 2 * c->cout > VL || (c->group * c->cout < VL && c->cin >= VL)) return 0;
#ifdef __clang__ /* has no shuffle by an index that is not constant */
    return is_plain(c);
#else
    return sources_of(c) <= 2;
#endif
}

AI vf pick(vf a, vf b, vi at) {
#ifdef __clang__
    return a;
#else
    return __builtin_shuffle(a, b, at);
#endif
}

/* Where the lanes of outputs o, o + 1, ... find the first channel of their group, from the first lane's on. */
AI vi lanes_of(const correlation *c, int64_t o) {
    vi at;
    for (int l = 0; l < VL; l++) at[l] = (int32_t)(group_start(c, o + l) - group_start(c, o));
    return at;
}

/* How VL outputs of a pixel come about: `start` + the sum over `count` taps of what lies at x + place[k], times w. */
typedef struct {
    int64_t count, cin;
    const int64_t *place;
    const float *w;
    int64_t step, yw; /* of x and y from pixel to pixel */
    int64_t cut;      /* so many lanes are stored */
    vi at;
    vf start;
} lanes;

AI void lanes_pixels(const int px, const int sources, const lanes *v, const float *x, float *y) {
    vf sum[8], a[8], b[8];
    const float *w = v->w;
    const int64_t step = v->step;
#pragma GCC unroll 8
    for (int m = 0; m < px; m++) sum[m] = v->start;
    for (int64_t k = 0; k < v->count; k++) {
        const float *from = x + v->place[k];
        if (!sources) {
            const vf f = *(const vf *)w;
#pragma GCC unroll 8
            for (int m = 0; m < px; m++) sum[m] += *(const vf *)(from + m * step) * f;
            w += VL;
            continue;
        }
#pragma GCC unroll 8
        for (int m = 0; m < px; m++) {
            a[m] = *(const vf *)(from + m * step);
            b[m] = sources == 2 ? *(const vf *)(from + m * step + VL) : a[m];
        }
        vi at = v->at;
        for (int64_t j = 0; j < v->cin; j++, w += VL, at += 1) {
            const vf f = *(const vf *)w;
#pragma GCC unroll 8
            for (int m = 0; m < px; m++) sum[m] += pick(a[m], b[m], at) * f;
        }
    }
#pragma GCC unroll 8
    for (int m = 0; m < px; m++) {
        if (v->cut == VL) *(vf *)(y + m * v->yw) = sum[m];
        else store_part(y + m * v->yw, sum[m], v->cut);
    }
}

#define PICKED (VL / 2) /* picked pixels computed together: of these twice as many registers */

AI void lanes_row(const int sources, const lanes v, int64_t pixels, const float *x, float *y) {
    const int px = sources ? PICKED : 8;
    for (; pixels >= px; pixels -= px, x += px * v.step, y += px * v.yw) lanes_pixels(px, sources, &v, x, y);
#define REST(k) case k: if (k < px) lanes_pixels(k, sources, &v, x, y); break;
    switch (pixels) { REST(1) REST(2) REST(3) REST(4) REST(5) REST(6) REST(7) }
#undef REST
}

/* Functions of their own, for the registers. */
#define LANES_ROW(n)                                                                                                  \
    static __attribute__((noinline)) void lanes_row_##n(const lanes *v, int64_t pixels, const float *x, float *y) {  \
        lanes_row(n, *v, pixels, x, y);                                                                               \
    }
LANES_ROW(0) LANES_ROW(1) LANES_ROW(2)

/* Working memory: for each tap the weights of VL outputs, or their gradients, and the place of what it sees. */
static int64_t lanes_size(const correlation *c) { return c->kh * c->kw * (c->cin * VL + 2); }

/* The place of number t of a filter in w. */
AI int64_t lanes_weight(const correlation *c, int64_t t) {
    return t / c->cin / c->kw * c->wh + t / c->cin % c->kw * c->ww + t % c->cin * c->wc;
}

static void correlate_lanes(const correlation *c, float *w) {
    const int64_t numbers = c->kh * c->kw * c->cin;
    int64_t *place = (int64_t *)(w + numbers * VL);
    void (*const rows[])(const lanes *, int64_t, const float *, float *) = {lanes_row_0, lanes_row_1, lanes_row_2};
    void (*const run)(const lanes *, int64_t, const float *, float *) = rows[sources_of(c)];
    for (int64_t t = 0; t < c->kh * c->kw; t++) place[t] = t / c->kw * c->dh * c->xh + t % c->kw * c->dw * c->xw;
    for (int64_t o = 0; o < c->group * c->cout; o += VL) {
        for (int64_t t = 0; t < numbers; t++) *(vf *)(w + t * VL) = *(const vf *)(c->w + lanes_weight(c, t) + o);
        lanes v = {.cin = c->cin, .step = c->sw * c->xw, .yw = c->yw, .cut = BREW_MIN(c->group * c->cout - o, VL),
                   .at = lanes_of(c, o)};
        v.start = c->bias ? load_part(c->bias + o, v.cut) : (vf){0};
        for (int64_t i = 0; i < c->n; i++)
            for (int64_t r = 0; r < c->oh; r++) {
                const int64_t top = r * c->sh + c->top;
                const range u = inside(top, c->dh, c->kh, c->height);
                v.count = (u.last - u.first) * c->kw;
                v.place = place + u.first * c->kw;
                v.w = w + u.first * c->kw * c->cin * VL;
                const float *x = c->x + i * c->xi + top * c->xh + c->left * c->xw + group_start(c, o);
                float *y = c->y + i * c->yi + r * c->yh + o;
                run(&v, c->ow, x, y);
            }
    }
}

/* Add to sum[t] what rows of dy give for `taps` taps from x on, or for as many channels to be picked from `at` on. */
AI void lanes_sum(const int taps, const int sources, const correlation *c, int64_t rows, const float *x, vi at,
                  const float *dy, float *sum) {
    enum { SPLIT = 4 }; /* independent sums, for the latency of the additions */
    vf part[SPLIT][4];
    for (int s = 0; s < SPLIT; s++)
        for (int t = 0; t < taps; t++) part[s][t] = (vf){0};
    const int64_t step = c->sw * c->xw, tap = c->dw * c->xw;
    for (int64_t r = 0; r < rows; r++, x += c->sh * c->xh, dy += c->yh) {
        int64_t q = 0;
#define PIXEL(s, q)                                                                                        \
    const vf d = *(const vf *)(dy + (q) * c->yw);                                                          \
    const vf a = *(const vf *)(x + (q) * step), b = sources == 2 ? *(const vf *)(x + (q) * step + VL) : a; \
    _Pragma("GCC unroll 4") for (int t = 0; t < taps; t++)                                                 \
        part[s][t] += d * (sources ? pick(a, b, at + t) : *(const vf *)(x + (q) * step + t * tap));
        for (; q + SPLIT <= c->ow; q += SPLIT)
#pragma GCC unroll 4
            for (int s = 0; s < SPLIT; s++) { PIXEL(s, q + s) }
        for (; q < c->ow; q++) { PIXEL(0, q) }
#undef PIXEL
    }
#pragma GCC unroll 4
    for (int t = 0; t < taps; t++) *(vf *)(sum + t * VL) += (part[0][t] + part[1][t]) + (part[2][t] + part[3][t]);
}

/* The same for `count` taps or channels. */
AI void lanes_sums(const int sources, const correlation *c, int64_t count, int64_t rows, const float *x, vi at,
                   const float *dy, float *sum) {
    for (int64_t t = 0; t < count; t += 4, at += 4, sum += 4 * VL, x += sources ? 0 : 4 * c->dw * c->xw)
        switch (count - t) {
        case 1: lanes_sum(1, sources, c, rows, x, at, dy, sum); break;
        case 2: lanes_sum(2, sources, c, rows, x, at, dy, sum); break;
        case 3: lanes_sum(3, sources, c, rows, x, at, dy, sum); break;
        default: lanes_sum(4, sources, c, rows, x, at, dy, sum);
        }
}

/* What a kernel row and some rows of dy give. */
static void lanes_kernel_row(int64_t sources, const correlation *c, int64_t rows, const float *x, vi at,
                             const float *dy, float *sum) {
    if (sources == 0) lanes_sums(0, c, c->kw, rows, x, at, dy, sum);
    for (int64_t t = 0; sources && t < c->kw; t++, x += c->dw * c->xw, sum += c->cin * VL) {
        if (sources == 1) lanes_sums(1, c, c->cin, rows, x, at, dy, sum);
        else lanes_sums(2, c, c->cin, rows, x, at, dy, sum);
    }
}

static void correlate_weight_lanes(const correlation *c, float *sum) {
    const int64_t numbers = c->kh * c->kw * c->cin, sources = sources_of(c);
    const int64_t block = BREW_MAX(1, 64 / c->ow); /* output rows at a time */
    for (int64_t o = 0; o < c->group * c->cout; o += VL) {
        const vi at = lanes_of(c, o);
        for (int64_t i = 0; i < c->n; i++) {
            memset(sum, 0, (size_t)(numbers * VL) * sizeof(float));
            for (int64_t first = 0; first < c->oh; first += block)
                for (int64_t k = 0; k < c->kh; k++) {
                    const int64_t top = first * c->sh + c->top + k * c->dh;
                    const range r = inside(top, c->sh, BREW_MIN(block, c->oh - first), c->height);
                    const float *dy = c->y + i * c->yi + (first + r.first) * c->yh + o;
                    const float *x = c->x + i * c->xi + (top + r.first * c->sh) * c->xh + c->left * c->xw
                                   + group_start(c, o);
                    lanes_kernel_row(sources, c, r.last - r.first, x, at, dy, sum + k * c->kw * c->cin * VL);
                }
            for (int64_t t = 0; t < numbers; t++) {
                double *to = c->dw_sum + lanes_weight(c, t) + o;
                for (int64_t l = 0; l < BREW_MIN(c->group * c->cout - o, VL); l++) to[l] += sum[t * VL + l];
            }
        }
    }
}
