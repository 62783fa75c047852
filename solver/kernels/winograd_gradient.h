/* The gradient of filters as Winograd's F(r x r, m x m): the roles of filters and outputs exchanged, by transposition
 * dW = G' [sum over tiles (B' x B) * (A dY A')] G. Each picture's sum is computed from zero, and added in doubles. */

#define WINOGRAD_FEW 4 /* tiles of a picture whose products are summed in doubles one by one */

/* What a tile of rows x cols gradients is at each point: z[point][output]. */
AI void winograd_read_outputs(const int outs, const int pairs, const float *dy, int64_t yh, int64_t yw, int64_t rows,
                              int64_t cols, float *z, int64_t step, int64_t channels) {
    const int size = 2 * pairs + 2;
    for (int64_t l = 0; l < channels; l += VL) {
        vf part[WINOGRAD_SIZE][WINOGRAD_SIZE];
        for (int i = 0; i < outs; i++) {
            vf d[WINOGRAD_SIZE];
#pragma GCC unroll 8
            for (int j = 0; j < outs; j++) d[j] = i < rows && j < cols ? *(const vf *)(dy + i * yh + j * yw + l) : (vf){0};
            winograd_spread(outs, pairs, d, part[i]);
        }
        for (int j = 0; j < size; j++) {
            vf d[WINOGRAD_SIZE], to[WINOGRAD_SIZE];
#pragma GCC unroll 8
            for (int i = 0; i < outs; i++) d[i] = part[i][j];
            winograd_spread(outs, pairs, d, to);
#pragma GCC unroll 8
            for (int i = 0; i < size; i++) *(vf *)(z + (i * size + j) * step + l) = to[i];
        }
    }
}

AI void winograd_gradient_tiles(const int outs, const int pairs, const correlation *c, const winograd *t, double *sum) {
    const int64_t picture = t->down * t->across, points = (2 * pairs + 2) * (2 * pairs + 2);
    for (int64_t first = 0; first < c->n; first += t->block) {
        const int64_t count = BREW_MIN(t->block, c->n - first);
        for (int64_t i = 0; i < count * picture; i++) {
            const int64_t n = first + i / picture, row = i % picture / t->across * outs, col = i % t->across * outs;
            winograd_read(pairs, c, c->x + n * c->xi, row + c->top, col + c->left, t->v + i * t->channels, t->step_v,
                          t->channels);
            winograd_read_outputs(outs, pairs, c->y + n * c->yi + row * c->yh + col * c->yw, c->yh, c->yw,
                                  BREW_MIN(c->oh - row, outs), BREW_MIN(c->ow - col, outs), t->m + i * t->wide, t->step_m,
                                  t->wide);
        }
        const int64_t k = picture <= WINOGRAD_FEW ? 1 : picture;
        for (int64_t p = 0; p < points; p++) {
            const gemm_args g = {.ns = 1, .nt = 1, .k = k, .a = t->v + p * t->step_v, .ak = t->channels, .am = 1,
                                 .ai = k * t->channels, .b = t->m + p * t->step_m, .ldb = t->wide,
                                 .bi = k * t->wide, .sum = sum + p * t->step_sum, .ldc = t->wide, .ldn = 1,
                                 .times = count * picture / k, .mode = GEMM_ADD};
            gemm(c->cin, t->wide, &g, 0);
        }
    }
}

/* dw += (A' / N) sum in both dimensions. */
AI void winograd_gradient_back(const int r, const int pairs, const correlation *c, const winograd *t, const double *sum) {
    enum { PART = VL / 2 };
    const int size = 2 * pairs + 2;
    for (int64_t l = 0; l < c->cin; l++)
        for (int64_t k = 0; k < c->cout; k += PART) {
            const int64_t n = BREW_MIN(c->cout - k, PART);
            vd half[WINOGRAD_SIZE][WINOGRAD_SIZE], from[WINOGRAD_SIZE], to[WINOGRAD_SIZE];
            for (int i = 0; i < size; i++) {
                for (int j = 0; j < size; j++)
                    from[j] = winograd_per_n(pairs, j) * *(const vd *)(sum + (i * size + j) * t->step_sum + l * t->wide + k);
                winograd_out_exact(r, pairs, from, half[i]);
            }
            for (int j = 0; j < r; j++) {
                for (int i = 0; i < size; i++) from[i] = winograd_per_n(pairs, i) * half[i][j];
                winograd_out_exact(r, pairs, from, to);
                for (int i = 0; i < r; i++) {
                    double *dw = c->dw_sum + i * c->wh + j * c->ww + l * c->wc + k;
                    if (n == PART) *(vd *)dw += to[i];
                    else for (int64_t e = 0; e < n; e++) dw[e] += to[i][e];
                }
            }
        }
}

#define WINOGRAD_GRADIENT(outs, pairs)                                                                                 \
    static __attribute__((noinline)) void winograd_gradient_##outs##_##pairs(const correlation *c, const winograd *t, \
                                                                             double *sum) {                           \
        winograd_gradient_tiles(outs, pairs, c, t, sum);                                                               \
        winograd_gradient_back(2 * pairs + 3 - outs, pairs, c, t, sum);                                                \
    }
WINOGRAD_GRADIENT(2, 1) WINOGRAD_GRADIENT(4, 2) WINOGRAD_GRADIENT(2, 2) WINOGRAD_GRADIENT(4, 3)

/* dw += the gradient of the filters, in doubles. a: x, dy, dw; i: outputs of a tile, pad h w. */
static void winograd_backward_weight(const brew_op *op) {
    const int64_t *i = op->i, outs = i[0], size = outs + SIZE(2, 2) - 1, points = size * size;
    const correlation c = {.n = SIZE(0, 0), .height = SIZE(0, 2), .width = SIZE(0, 3), .oh = SIZE(1, 2),
                           .ow = SIZE(1, 3), .kh = SIZE(2, 2), .kw = SIZE(2, 3), .cin = SIZE(2, 1), .cout = SIZE(2, 0),
                           .group = 1, .top = -i[1], .left = -i[2], .x = F(0), .xi = STRIDE(0, 0), .xh = STRIDE(0, 2),
                           .xw = STRIDE(0, 3), .dw_sum = F64(2), .wh = STRIDE(2, 2), .ww = STRIDE(2, 3),
                           .wc = STRIDE(2, 1), .y = F(1), .yi = STRIDE(1, 0), .yh = STRIDE(1, 2), .yw = STRIDE(1, 3)};
    winograd t = {.down = (c.oh + outs - 1) / outs, .across = (c.ow + outs - 1) / outs,
                  .channels = (c.cin + VL - 1) / VL * VL, .wide = (c.cout + VL - 1) / VL * VL};
    const int64_t picture = t.down * t.across;
    const int64_t fit = 2 * WINOGRAD_WORK / (points * picture * (t.channels + t.wide));
    t.block = picture <= WINOGRAD_FEW ? BREW_MAX(1, BREW_MIN(c.n, fit)) : 1;
    t.step_v = apart(t.block * picture * t.channels);
    t.step_m = apart(t.block * picture * t.wide);
    t.step_sum = apart(c.cin * t.wide);
    double *sum = (double *)work_needed(points * (2 * t.step_sum + t.step_v + t.step_m));
    t.v = (float *)(sum + points * t.step_sum);
    t.m = t.v + points * t.step_v;
    memset(sum, 0, points * t.step_sum * sizeof(double));
    if (size == 4) winograd_gradient_2_1(&c, &t, sum);
    else if (size == 8) winograd_gradient_4_3(&c, &t, sum);
    else if (outs == 2) winograd_gradient_2_2(&c, &t, sum);
    else winograd_gradient_4_2(&c, &t, sum);
}
