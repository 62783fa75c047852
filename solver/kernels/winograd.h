/* Winograd's convolution F(m x m, r x r) of stride 1 (Lavin and Gray: Fast Algorithms for Convolutional Neural Networks,
 * 2016): tiles of m x m outputs from (m+r-1)^2 inputs, by as many products a channel and output instead of m^2 r^2. */
#define WINOGRAD_BLOCK 32       /* outputs that lie together in transformed filters */
#define WINOGRAD_WORK (1 << 17) /* floats that are worked on at a time */

AI void winograd_filters(const int r, const int pairs, const brew_op *op) {
    const int size = 2 * pairs + 2;
    for (int64_t k = 0; k < SIZE(0, 0); k += VL)
        for (int64_t c = 0; c < SIZE(0, 1); c++) {
            const float *w = F(0) + c * STRIDE(0, 1) + k;
            float *u = F(1) + k / WINOGRAD_BLOCK * STRIDE(1, 0) + c * STRIDE(1, 2) + k % WINOGRAD_BLOCK;
            vf half[WINOGRAD_SIZE][WINOGRAD_SIZE], from[WINOGRAD_SIZE], to[WINOGRAD_SIZE];
            for (int j = 0; j < r; j++) {
#pragma GCC unroll 8
                for (int i = 0; i < r; i++) from[i] = *(const vf *)(w + i * STRIDE(0, 2) + j * STRIDE(0, 3));
                winograd_spread(r, pairs, from, to);
#pragma GCC unroll 8
                for (int i = 0; i < size; i++) half[i][j] = (float)winograd_per_n(pairs, i) * to[i];
            }
            for (int i = 0; i < size; i++) {
                winograd_spread(r, pairs, half[i], to);
#pragma GCC unroll 8
                for (int j = 0; j < size; j++)
                    *(vf *)(u + (i * size + j) * STRIDE(1, 1)) = (float)winograd_per_n(pairs, j) * to[j];
            }
        }
}

/* u = (A w / N) in both dimensions. a: w (cout, cin, r, r), u (blocks of outputs, points, cin, WINOGRAD_BLOCK): behind
 * the last output there is nothing of meaning. */
static void winograd_weights(const brew_op *op) {
    if (SIZE(1, 1) == 16) winograd_filters(3, 1, op);
    else if (SIZE(1, 1) == 64) winograd_filters(5, 3, op);
    else if (SIZE(0, 2) == 3) winograd_filters(3, 2, op);
    else winograd_filters(5, 2, op);
}

/* One call: pictures cut into tiles, how many are worked on at a time, and where. */
typedef struct {
    int64_t down, across, tiles, block; /* tiles of a picture, of all; gradient: block counts pictures */
    int64_t channels, wide;             /* inputs, and outputs at a time, in whole vectors */
    int64_t step_v, step_m, step_sum;   /* from point to point */
    float *v, *m;
} winograd;

/* A step of at least so many elements that is no power of two, with which all points would share some cache lines. */
AI int64_t apart(int64_t count) { return (count + 15) / 16 * 16 + 16; }

/* Working memory without which nothing can be computed. */
static float *work_needed(int64_t count) {
    float *work = work_of(count);
    if (work) return work;
    fputs("batchbrew: error: out of memory in a convolution\n", stderr);
    abort();
}

/* What a tile of x at (row, col) is at each point: v[point][channel]. Columns from `last` on are zeros. */
AI void winograd_read(const int pairs, const correlation *c, const float *x, int64_t row, int64_t col, float *v,
                      int64_t step, int64_t channels) {
    const int size = 2 * pairs + 2;
    const int64_t seen = BREW_MIN(c->ow + c->kw - 1 + c->left - col, size);
    for (int64_t l = 0; l < channels; l += VL) {
        vf part[WINOGRAD_SIZE][WINOGRAD_SIZE];
        for (int i = 0; i < size; i++) {
            vf d[WINOGRAD_SIZE];
            if (row + i < 0 || row + i >= c->height) {
#pragma GCC unroll 8
                for (int j = 0; j < size; j++) part[i][j] = (vf){0};
                continue;
            }
            const float *from = x + (row + i) * c->xh + col * c->xw + l;
#pragma GCC unroll 8
            for (int j = 0; j < size; j++) d[j] = j < seen ? *(const vf *)(from + j * c->xw) : (vf){0};
            winograd_in(pairs, d, part[i]);
        }
        for (int j = 0; j < size; j++) {
            vf d[WINOGRAD_SIZE], to[WINOGRAD_SIZE];
#pragma GCC unroll 8
            for (int i = 0; i < size; i++) d[i] = part[i][j];
            winograd_in(pairs, d, to);
#pragma GCC unroll 8
            for (int i = 0; i < size; i++) *(vf *)(v + (i * size + j) * step + l) = to[i];
        }
    }
}

/* The outputs of a tile, rows x cols of them, from what their products are at each point: m[point][output]. */
AI void winograd_write(const int outs, const int pairs, const float *m, int64_t step, int64_t wide, const float *bias,
                       float *y, int64_t yh, int64_t yw, int64_t rows, int64_t cols) {
    const int size = 2 * pairs + 2;
    for (int64_t l = 0; l < wide; l += VL) {
        vf part[WINOGRAD_SIZE][WINOGRAD_SIZE];
        const int64_t n = BREW_MIN(wide - l, VL);
        const vf add = bias ? load_part(bias + l, n) : (vf){0};
        for (int i = 0; i < size; i++) {
            vf v[WINOGRAD_SIZE];
#pragma GCC unroll 8
            for (int j = 0; j < size; j++) v[j] = *(const vf *)(m + (i * size + j) * step + l);
            winograd_out(outs, pairs, v, part[i]);
        }
        for (int64_t j = 0; j < cols; j++) {
            vf v[WINOGRAD_SIZE], to[WINOGRAD_SIZE];
#pragma GCC unroll 8
            for (int i = 0; i < size; i++) v[i] = part[i][j];
            winograd_out(outs, pairs, v, to);
#pragma GCC unroll 8
            for (int i = 0; i < outs; i++)
                if (i < rows) {
                    float *at = y + i * yh + j * yw + l;
                    if (n == VL) *(vf *)at = to[i] + add;
                    else store_part(at, to[i] + add, n);
                }
        }
    }
}

AI void winograd_tiles(const int outs, const int pairs, const correlation *c, const winograd *t) {
    const int points = (2 * pairs + 2) * (2 * pairs + 2);
    for (int64_t first = 0; first < t->tiles; first += t->block) {
        const int64_t count = BREW_MIN(t->block, t->tiles - first), picture = t->down * t->across;
        for (int64_t i = 0; i < count; i++) {
            const int64_t n = (first + i) / picture, at = (first + i) % picture;
            winograd_read(pairs, c, c->x + n * c->xi, at / t->across * outs + c->top, at % t->across * outs + c->left,
                          t->v + i * t->channels, t->step_v, t->channels);
        }
        for (int64_t k = 0; k < c->cout; k += WINOGRAD_BLOCK) {
            const int64_t wide = BREW_MIN(c->cout - k, WINOGRAD_BLOCK);
            for (int p = 0; p < points; p++) {
                const gemm_args g = {.ns = 1, .nt = 1, .k = c->cin, .a = t->v + p * t->step_v, .ak = 1,
                                     .am = t->channels, .b = c->w + k / WINOGRAD_BLOCK * c->wh + p * c->ww,
                                     .ldb = c->wc, .c = t->m + p * t->step_m, .ldc = t->wide, .ldn = 1,
                                     .mode = GEMM_SET};
                gemm(count, (wide + VL - 1) / VL * VL, &g, 0);
            }
            for (int64_t i = 0; i < count; i++) {
                const int64_t n = (first + i) / picture, at = (first + i) % picture;
                const int64_t row = at / t->across * outs, col = at % t->across * outs;
                winograd_write(outs, pairs, t->m + i * t->wide, t->step_m, wide, c->bias ? c->bias + k : 0,
                               c->y + n * c->yi + row * c->yh + col * c->yw + k, c->yh, c->yw,
                               BREW_MIN(c->oh - row, outs), BREW_MIN(c->ow - col, outs));
            }
        }
    }
}

#define WINOGRAD(outs, pairs)                                                                                          \
    static __attribute__((noinline)) void winograd_##outs##_##pairs(const correlation *c, const winograd *t) {        \
        winograd_tiles(outs, pairs, c, t);                                                                             \
    }
WINOGRAD(2, 1) WINOGRAD(4, 2) WINOGRAD(2, 2) WINOGRAD(4, 3)

/* y = correlation of x with the filters behind u, + bias. a: x, u, bias or none, y; i: outputs of a tile, filter size,
 * pad h w (less than 0: so many rows or columns are left out). */
static void winograd_forward(const brew_op *op) {
    const int64_t *i = op->i, outs = i[0], size = outs + i[1] - 1, points = size * size;
    const correlation c = {.n = SIZE(0, 0), .height = SIZE(0, 2), .width = SIZE(0, 3), .oh = SIZE(3, 2),
                           .ow = SIZE(3, 3), .kh = i[1], .kw = i[1], .cin = SIZE(0, 1), .cout = SIZE(3, 1), .group = 1,
                           .sh = 1, .sw = 1, .dh = 1, .dw = 1, .top = -i[2], .left = -i[3], .x = F(0),
                           .xi = STRIDE(0, 0), .xh = STRIDE(0, 2), .xw = STRIDE(0, 3), .w = F(1),
                           .wh = STRIDE(1, 0), .ww = STRIDE(1, 1), .wc = STRIDE(1, 2), .bias = F(2), .y = F(3),
                           .yi = STRIDE(3, 0), .yh = STRIDE(3, 2), .yw = STRIDE(3, 3)};
    winograd t = {.down = (c.oh + outs - 1) / outs, .across = (c.ow + outs - 1) / outs,
                  .channels = (c.cin + VL - 1) / VL * VL,
                  .wide = (BREW_MIN(c.cout, WINOGRAD_BLOCK) + VL - 1) / VL * VL};
    t.tiles = c.n * t.down * t.across;
    const int64_t fit = BREW_MAX(1, WINOGRAD_WORK / (points * (t.channels + t.wide)) / MR) * MR;
    const int64_t blocks = BREW_MAX(1, (t.tiles + fit - 1) / fit);
    t.block = (t.tiles + blocks - 1) / blocks;
    t.step_v = apart(t.block * t.channels);
    t.step_m = apart(t.block * t.wide);
    t.v = work_needed(points * (t.step_v + t.step_m));
    t.m = t.v + points * t.step_v;
    if (size == 4) winograd_2_1(&c, &t);
    else if (size == 8) winograd_4_3(&c, &t);
    else if (outs == 2) winograd_2_2(&c, &t);
    else winograd_4_2(&c, &t);
}
